"""Decisions: record, supersede, revoke, and judge the outcome."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from memoryhub.core.access.clearance import find, visible_to
from memoryhub.core.access.labels import LabelRef, ensure_label, highest, label_by_id
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, Conflict, FieldError, Forbidden, Invalid, NotFound, Unavailable
from memoryhub.core.ledger import events
from memoryhub.core.models import DecisionsChangedBy, Team
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory import models
from memoryhub.memory.actions.learnings import add_outcome
from memoryhub.memory.actions.leases import hold_task
from memoryhub.memory.actions.rows import label_for, repeated, set_text, store, task_of
from memoryhub.memory.models import DecisionStatus
from memoryhub.memory.schemas.decisions import Decision, NewDecision, Replacement
from memoryhub.memory.selectors.memories import only
from memoryhub.memory.selectors.tasks import TaskRef, refs_by_id


@action("decision.record", roles=AGENTS | DESK, scope="memory:write")
def record(viewer: Viewer, *, item: NewDecision, task: TaskRef | None = None) -> tuple[UUID, bool]:
    """Record a decision; its id, and whether it is new (a repeated `client_ref` returns the first).

    Raises Conflict: human_owned, lease_lost, action_conflict (an active decision has this `action_key`); NotFound for a
    task, or a row in `based_on`, that is hidden or absent; Forbidden for a label above one's clearance, or one that
    does not dominate what the decision rests on. `task`: the item's, where the caller has already read it.
    """
    task = task or task_of(viewer, item)
    assert task is not None
    label = _label(viewer, task, _bases(viewer, item.based_on), item)
    # Before the lease is checked: a repeat returns the first row, whoever holds the task by now.
    if (known := repeated(viewer, models.Decision, label, item.client_ref)) is not None:
        return known, False
    hold_task(viewer, task.id, token=item.token, decides=True)
    row_id = _insert(viewer, "decision.record", label, task.id, item)
    if row_id is not None:
        return row_id, True
    if (known := repeated(viewer, models.Decision, label, item.client_ref)) is not None:
        return known, False
    raise _taken(viewer, item.action_key)


def _insert(
    viewer: Viewer, verb: str, label: LabelRef, task_id: UUID, item: Replacement, old: models.Decision | None = None
) -> UUID | None:
    """Store a decision with its event; None when its `action_key` or `client_ref` is taken. `old`: the one replaced."""
    action_key = item.action_key or (old.action_key if old else None)
    data = {"action_key": action_key} if action_key else {}
    if old:
        data["supersedes"] = str(old.id)
    return store(
        viewer,
        verb,
        Decision,
        label,
        item,
        task_id=task_id,
        data=data,
        status=DecisionStatus.ACTIVE.value,
        action_key=action_key,
        supersedes=old.id if old else None,
    )


def _record(viewer: Viewer, verb: str, row: models.Decision, **data: Any) -> None:
    events.append(viewer, verb, label=row.label_id, row_type="decision", row_id=row.id, task_id=row.task_id, data=data)


@action("decision.supersede", roles=AGENTS | DESK, scope="memory:write")
def supersede(viewer: Viewer, *, decision_id: UUID, item: Replacement) -> tuple[UUID, bool]:
    """Replace an active decision by a new one of the same task, which keeps its `action_key` unless it names another.

    Returns the new one's id, and whether it is new. Its label dominates that of the old one. Counts as rework. Of
    concurrent requests exactly one succeeds. Raises as record(); also NotFound, Conflict (wrong_state) when the old one
    is no longer active, Invalid when the new one rests on it, Forbidden by the team's rule for others' decisions.
    """
    old = find(viewer, models.Decision.objects.all(), decision_id)
    task = _task(viewer, old)
    bases = _bases(viewer, [*item.based_on, old.id])
    _refuse_circle(old.id, item.based_on)
    mine = models.Decision.objects.filter(author_id=viewer.membership, client_ref=item.client_ref)
    if old.status != DecisionStatus.ACTIVE and (item.client_ref is None or not mine.exists()):
        raise _not_active(old)  # whichever label is requested
    label = _label(viewer, task, bases, item)
    if (known := repeated(viewer, models.Decision, label, item.client_ref)) is not None:
        return known, False
    hold_task(viewer, task.id, token=item.token, decides=True)
    old = _lock(viewer, decision_id)
    if old.status != DecisionStatus.ACTIVE:
        # The same request may have run while this one waited for the lock.
        if (known := repeated(viewer, models.Decision, label, item.client_ref)) is not None:
            return known, False
        raise _not_active(old)
    _refuse_others(viewer, old)
    old.status = DecisionStatus.SUPERSEDED
    old.save(update_fields=["status"])
    row_id = _insert(viewer, "decision.supersede", label, task.id, item, old)
    if row_id is None:
        if repeated(viewer, models.Decision, label, item.client_ref) is not None:
            raise Conflict(Code.CONFLICT, "A concurrent request used this client_ref first; repeat this one.")
        raise _taken(viewer, item.action_key or old.action_key)
    if old.label_id != label.id:
        _record(viewer, "decision.superseded", old)
    return row_id, True


@action("decision.revoke", roles=AGENTS | DESK, scope="memory:write")
def revoke(viewer: Viewer, *, decision_id: UUID, reason: str, token: int | None = None) -> UUID:
    """Revoke an active decision, which frees its `action_key`; its id. Counts as rework.

    Raises NotFound; Conflict: human_owned, lease_lost, wrong_state when it is no longer active; Forbidden by the team's
    rule for others' decisions. Of concurrent requests exactly one succeeds.
    """
    task = _task(viewer, find(viewer, models.Decision.objects.all(), decision_id))
    hold_task(viewer, task.id, token=token, decides=True)
    row = _lock(viewer, decision_id)
    if row.status != DecisionStatus.ACTIVE:
        raise _not_active(row)
    _refuse_others(viewer, row)
    row.status = DecisionStatus.REVOKED
    set_text(row, {**_text(row), "revoke_reason": reason})
    row.save(update_fields=["status", "body", "sealed", "text_version"])
    _record(viewer, "decision.revoke", row)
    return row.id


@action("decision.outcome", roles=AGENTS | DESK, scope="memory:write")
def outcome(viewer: Viewer, *, decision_id: UUID, outcome: str, note: str = "") -> UUID:
    """Judge whether a decision worked or failed, whatever its status; its id. Makes a learning, authored by the viewer.

    The last judgement counts, and changes the learning; repeating it is a no-op. It decides nothing, so agents may
    judge while a person has the task. Raises NotFound, Unavailable; Forbidden by the team's rule for others' decisions.
    """
    find(viewer, models.Decision.objects.all(), decision_id)
    row = _lock(viewer, decision_id)
    _refuse_others(viewer, row)
    text = _text(row)
    if row.outcome == outcome and text.get("outcome_note", "") == note:
        current().depends_on_event = row.clock_id
        return row.id
    row.outcome = outcome
    set_text(row, {**text, "outcome_note": note})
    row.save(update_fields=["outcome", "body", "sealed", "text_version"])
    _record(viewer, "decision.outcome", row, outcome=outcome)
    add_outcome(viewer, row, _metadata(viewer, row))
    return row.id


def _task(viewer: Viewer, row: models.Decision) -> TaskRef:
    """The decision's task. Raises NotFound when the task is hidden."""
    return only(list(refs_by_id(viewer, [row.task_id]).values()))


def _lock(viewer: Viewer, decision_id: UUID) -> models.Decision:
    """The visible decision, locked against changes until COMMIT. Lock order: its task, where needed, comes first."""
    return visible_to(viewer, models.Decision.objects.select_for_update(no_key=True)).get(id=decision_id)


_HOLDS = """
select coalesce(holder_id = %(me)s::uuid and lease_expires_at > clock_timestamp(), false) from task
where id = %(task)s::uuid
"""


def _refuse_others(viewer: Viewer, row: models.Decision) -> None:
    """Raise Forbidden for an agent that may not change this decision by the team's rule.

    By `author_and_holder` its author and the holder of a live lease on its task may. People always may.
    """
    if not viewer.is_agent or row.author_id == viewer.membership:
        return
    if Team.objects.get(id=viewer.team).decisions_changed_by == DecisionsChangedBy.ALL:
        return
    held = run(_HOLDS, {"me": viewer.membership, "task": row.task_id})
    if held != [(True,)]:
        raise Forbidden(
            "In this team only a decision's author and its task's holder may supersede, revoke or judge it."
        )


def _not_active(row: models.Decision) -> Conflict:
    return Conflict(Code.WRONG_STATE, f"This decision is already {row.status}.", state=row.status)


def _text(row: models.Decision) -> dict[str, Any]:
    """The decision's text, to be rewritten. Raises Unavailable when it does not open, so that it is not overwritten."""
    text = read_text(row)
    if "unavailable" in text:
        raise Unavailable("The content of this decision cannot be decrypted.", retry_after=60)
    return text


def _metadata(viewer: Viewer, row: models.Decision) -> dict[str, Any]:
    """The metadata of the decision's task; empty unless the decision's label dominates the task's."""
    label = label_by_id(row.label_id)
    task = visible_to(viewer, models.Task.objects.filter(id=row.task_id)).first()
    if task is None or not label.dominates(label_by_id(task.label_id)):
        return {}
    return dict(read_text(task).get("metadata", {}))


_REPLACED = """
with recursive chain (id, depth) as (
    select %(old)s::uuid, 0
    union all select d.supersedes, c.depth + 1 from chain c join decision d on d.id = c.id
    where d.supersedes is not null and c.depth < 1000
) select id from chain where id = any (%(based_on)s::uuid[])
"""


def _refuse_circle(old: UUID, based_on: Sequence[UUID]) -> None:
    """Raise Invalid for a decision that would rest on one that it replaces, directly or through a chain."""
    if not based_on:
        return
    replaced = {found for (found,) in run(_REPLACED, {"old": old, "based_on": list(based_on)})}
    faults = [index for index, row in enumerate(based_on) if row in replaced]
    if faults:
        why = "A decision cannot rest on one that it replaces."
        raise Invalid(errors=tuple(FieldError(f"/based_on/{index}", Code.CIRCULAR, why) for index in faults))


def _bases(viewer: Viewer, based_on: Sequence[UUID]) -> list[LabelRef]:
    """The labels of what a decision rests on. Raises NotFound when any of it is hidden or absent."""
    ids = set(based_on)
    bases: dict[UUID, int] = {}
    for model in (models.Observation, models.Decision) if ids else ():
        bases |= dict(visible_to(viewer, model._default_manager.filter(id__in=ids)).values_list("id", "label_id"))
    if ids - bases.keys():
        raise NotFound("/based_on")
    return [label_by_id(label_id) for label_id in bases.values()]


def _label(viewer: Viewer, task: TaskRef, low: Sequence[LabelRef], item: Replacement) -> LabelRef:
    """The label that `item` names, else the least that dominates the task's and `low`, those of what it rests on."""
    if not item.names_label:
        return ensure_label(viewer, *highest([label_by_id(task.label_id), *low]))
    label = label_for(viewer, item, task)
    if low:
        least, words = highest(low)
        if label.sensitivity < least or not words.issubset(label.compartments):
            raise Forbidden("A decision's label must dominate the labels of what it rests on or replaces.")
    return label


def _taken(viewer: Viewer, action_key: str | None) -> Conflict:
    """The refusal when the action key is taken."""
    # The decision is named only to those who may see it; of a hidden one only its existence is disclosed.
    holder = visible_to(viewer, models.Decision.objects.select_related("author")).filter(
        action_key=action_key, status="active"
    )
    found = holder.first()
    return Conflict(
        Code.ACTION_CONFLICT,
        f"An active decision already has the action key {action_key!r}.",
        **({"decision": str(found.id), "held_by": found.author.name} if found else {}),
    )
