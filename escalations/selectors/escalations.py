"""Reading escalations: the queue's rows, one with its people, the package, the answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from msgspec import UNSET

from escalations import schemas
from escalations.json_text import arguments_of
from escalations.models import Answer, Escalation, Priority, Verdict
from escalations.standing import as_they_are_now, is_in
from escalations.states import ANSWERED, CANCELLED, EXPIRED, IN_PROGRESS, OPEN, RESOLVED
from memoryhub.core.access.clearance import find, visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.db import durability
from memoryhub.core.db.statements import run
from memoryhub.core.models import EventSeq, Membership, Team, seq_of_row
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer, viewer_of
from memoryhub.interface.http.json import as_written
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.learnings import Learning
from memoryhub.memory.schemas.rows import Stored
from memoryhub.memory.selectors import facts as fact_selectors
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.facts import StoredFact

LEARNINGS = 50  # of the task itself, in a package
SAID = 50  # answers, and as many notes
MEMORY, TASKS = "memory:read", "tasks"  # the scopes that a package's parts need


def escalations(viewer: Viewer) -> QuerySet[Escalation]:
    """The visible escalations with `as_of` (the `seq` at which each froze), and their people.

    Each as it is at this moment: one whose claim is over is shown as queued, even before that is recorded.
    """
    rows = Escalation.objects.select_related("author", "owner", "assigned_to", "task", "queue")
    return visible_to(viewer, as_they_are_now(rows.annotate(seq=seq_of_row())))


def escalation(viewer: Viewer, escalation_id: UUID) -> Escalation:
    """One visible escalation. Raises NotFound."""
    return find(viewer, escalations(viewer), escalation_id)


def show(row: Escalation) -> schemas.Escalation:
    """An escalation as it is returned."""
    return schemas.Escalation(**members(row))


# The members that are columns of its row, as they are.
_COLUMNS = (
    *("id", "created_at", "state", "version", "reason_code", "allowed", "claimed_at", "claim_expires_at"),
    *("handed_back_at", "closed_at", "unacknowledged", "client_ref"),
)


def members(row: Escalation) -> dict[str, Any]:
    """The members of an escalation, by name."""
    text, label = read_text(row), label_by_id(row.label_id)
    return {
        **{name: getattr(row, name) for name in _COLUMNS},
        **{name: text.get(name) for name in ("reason", "question", "recommendation")},
        "seq": as_of(row),
        "sensitivity": label.level,
        "compartments": list(label.compartments),
        "author": row.author.name,
        "unavailable": True if "unavailable" in text else UNSET,
        "task": row.task.key,
        "action": _action(text.get("action")),
        "priority": Priority(row.priority).label,
        "queue": row.queue.name,
        "assigned_to": row.assigned_to.name if row.assigned_to else None,
        "owner": row.owner.name if row.owner else None,
        "priority_lowered": True if "asked_priority" in row.policy else UNSET,
    }


def _action(kept: dict[str, Any] | None) -> schemas.ProposedAction | None:
    if kept is None:
        return None
    return schemas.ProposedAction(kept.get("name"), as_written(arguments_of(kept)), kept.get("schema"))


def package(viewer: Viewer, row: Escalation, *, most_bytes: int) -> schemas.Package:
    """The package of an escalation, to which the caller adds a page of observations and decisions.

    Facts and learnings have half of `most_bytes` each; the keys of facts that do not fit are in `unread`. What the
    viewer's key has no scope to read is left out, and `omitted` names the scope.
    """
    text = read_text(row)
    known: list[StoredFact] = []
    unread: list[str] = []
    learned: list[Stored[Learning]] = []
    if has_scope(viewer, MEMORY):
        half = most_bytes // 2
        known, unread = fact_selectors.of_task(
            viewer, row.task_id, seq=as_of(row), time=row.created_at, most_bytes=half
        )
        found = memories.rows(viewer, Learning, frozen(row), limit=LEARNINGS, most_bytes=half)
        learned = found[: found.at_most]
    omitted = [scope for scope in (MEMORY, TASKS) if not has_scope(viewer, scope)]
    count = withheld(viewer, row) if viewer.is_human else None
    return schemas.Package(
        escalation=row.id,
        escalated_by_agent=row.author.name,
        reason=text.get("reason"),
        reason_code=row.reason_code,
        question=text.get("question"),
        assigned_to=row.assigned_to.name if row.assigned_to else None,
        escalation_time=row.created_at,
        as_of=as_of(row),
        task_id=row.task.key,
        full_context={
            "task": task_selectors.find_task(viewer, row.task_id).show() if has_scope(viewer, TASKS) else None,
            **{kind.plural: [] for kind in KINDS.values()},
            "facts": [one.show() for one in known],
            "learnings": [one.show() for one in learned],
            **_said(viewer, row, most_bytes=most_bytes // 4),
            "status": row.state,
            **({"unread": unread} if unread else {}),
        },
        omitted=omitted or UNSET,
        withheld=UNSET if count is None else count,
    )


def _said(viewer: Viewer, row: Escalation, *, most_bytes: int) -> dict[str, list[Any]]:
    """What people have said of the task before, by the plural of the kind: as many as fit, the newest first."""
    if not has_scope(viewer, MEMORY):
        return {}
    said: dict[str, list[Any]] = {}
    for kind in KINDS.values():
        if kind.in_words:
            found = memories.rows(viewer, kind.schema, frozen(row), limit=SAID, most_bytes=most_bytes)
            said[kind.plural] = [one.show() for one in found[: found.at_most]]
            most_bytes -= sum(len(one.body or one.sealed or "") for one in found[: found.at_most])
    return said


def as_of(row: Escalation) -> int:
    """The `seq` at which the escalation froze (annotated by escalations())."""
    seq: int = row.seq  # type: ignore[attr-defined]
    return seq


def frozen(row: Escalation) -> memories.MemoryFilters:
    """The filters of the escalation's package: its task's memory as of `as_of`; while it is open, expired rows, too.

    Those who see the escalation see the task's key: both have one label.
    """
    return memories.MemoryFilters(task=row.task_id, task_key=row.task.key, up_to_seq=as_of(row), alive_at=alive_at(row))


def alive_at(row: Escalation) -> datetime | None:
    """The moment at which expiry is judged: while it is open, that of its creation; else None (now)."""
    return row.created_at if row.state in OPEN else None


def learning_of(viewer: Viewer, escalation_id: UUID) -> Stored[Learning] | None:
    """The learning that a person has made from the escalation, if the viewer may see it."""
    found = memories.rows(viewer, Learning, memories.MemoryFilters(source=escalation_id), limit=1)
    return found[0] if found else None


def withheld(viewer: Viewer, row: Escalation) -> int | None:
    """How many items of the package are above the viewer's clearance; None where the team does not show it."""
    if not Team.objects.get(id=viewer.team).tell_withheld:
        return None
    counted = [kind.withheld for kind in KINDS.values() if kind.withheld is not None]
    total = " + ".join(f"withheld_{table}(%(task)s::uuid, %(up_to)s::bigint)" for table in counted)
    ((count,),) = run(f"select {total}", {"task": row.task_id, "up_to": as_of(row)})
    return int(count)


def unreachable(row: Escalation) -> str | None:
    """Why an answer cannot reach the agent that requested it, as a sentence; None where it can.

    An agent whose keys are all revoked can be reached: its answer waits for its next key.
    """
    asker = Membership.objects.select_related("actor", "team").get(id=row.author_id)
    if not (asker.is_active and asker.actor.is_active):
        return f"{asker.name} is deactivated: an answer cannot reach it. Finish the task yourself."
    label = label_by_id(row.label_id)
    if not viewer_of(asker).dominates(label.sensitivity, label.compartments):
        return f"{asker.name} may no longer read an answer of this sensitivity. Finish the task yourself."
    return None


def answers_given(viewer: Viewer, row: Escalation) -> tuple[Answer | None, list[Answer]]:
    """This round's answer, decided or sent; and those that were never sent, the latest first.

    Among these is one that is not marked as withdrawn yet, whose author's claim is over.
    """
    rows = visible_to(viewer, Answer.objects.select_related("author").filter(escalation=row, round=row.round))
    found = list(rows.order_by("-id"))
    stands = row.state in (RESOLVED, *ANSWERED)
    given = next((answer for answer in found if stands and answer.withdrawn_at is None), None)
    return given, [answer for answer in found if answer is not given]


OUTCOMES = {CANCELLED: "cancelled", EXPIRED: "expired"}


def answer_of(viewer: Viewer, escalation_id: UUID) -> schemas.Answer | None:
    """The answer as the agent gets it; None while there is none. Raises NotFound.

    The decision is for the agent that requested it. Others who see the escalation, joined or not, get only the words.
    Agents act on it: it is durable before it is returned (Unconfirmed while a standby is down).
    """
    row = escalation(viewer, escalation_id)
    if row.state not in ANSWERED:
        return None
    seq = EventSeq.objects.filter(event_id=row.change).values_list("seq", flat=True).first()
    if seq is None or not durability.has(viewer.team, seq):
        current().depends_on_event = row.change
    given = visible_to(viewer, Answer.objects.select_related("author").annotate(seq=seq_of_row()))
    answer = given.filter(escalation=row, round=row.round, withdrawn_at=None).first()
    text = read_text(answer) if answer else {}
    is_own = row.author_id == viewer.membership
    made = schemas.Answer(
        escalation=row.id,
        task=row.task.key,
        state=row.state,
        outcome=OUTCOMES.get(row.state, "answered" if is_own else "answered_other"),
        decision=answer.verdict if answer and row.state not in OUTCOMES and is_own else None,
        by=answer.author.name if answer else None,
        done=text.get("done", ""),
        next=text.get("next", ""),
        at=answer.created_at if answer else row.closed_at,
    )
    if answer and answer.verdict == Verdict.FINISH:
        made.outcome = "finished"
    if text.get("message"):
        made.message = text["message"]
    if answer and is_own and answer.verdict in (Verdict.APPROVE, Verdict.EDIT):
        action = read_text(row).get("action") or {}
        approved = arguments_of(text if answer.verdict == Verdict.EDIT else action)
        made.action = schemas.ActionTaken(action.get("name"), as_written(approved))
    return made


def holder(viewer: Viewer, task: UUID) -> UUID | None:
    """Who holds the claim of the task's open escalation, and so may_open_private()."""
    rows = as_they_are_now(visible_to(viewer, Escalation.objects.filter(task_id=task)))
    return rows.filter(is_in(IN_PROGRESS)).values_list("owner_id", flat=True).first()


def may_open_private(viewer: Viewer, row: Escalation) -> bool:
    """Whether the viewer holds the claim, and so may open the agents' private observations (recorded)."""
    return row.owner_id == viewer.membership and row.state in IN_PROGRESS
