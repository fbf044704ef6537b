"""Decisions: record."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryhub.core import ledger
from memoryhub.core.access import visible_to
from memoryhub.core.errors import Code, Conflict, Forbidden, NotFound
from memoryhub.core.ids import new_id
from memoryhub.core.labels import LabelRef, ensure_label, highest, label_by_id
from memoryhub.core.sealing import text_columns
from memoryhub.core.sql import run
from memoryhub.core.transactions import current
from memoryhub.core.verbs import AGENTS, DESK, action
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import hold_task
from memoryhub.memory.actions.observations import label_for
from memoryhub.memory.models import Decision, Observation
from memoryhub.memory.selectors.tasks import TaskRef

_COLUMNS = (
    "id, team_id, label_id, sensitivity, body, sealed, author_id, event_id, task_id, status, based_on, action_key,"
    " client_ref"
)
_PLACES = ", ".join(
    f"%s::{kind}"
    for kind in (
        "uuid",
        "int",
        "int",
        "int",
        "jsonb",
        "bytea",
        "uuid",
        "uuid",
        "uuid",
        "varchar",
        "uuid[]",
        "varchar",
        "varchar",
    )
)


@action("decision.record", roles=AGENTS | DESK, scope="memory:write")
def record(
    viewer: Viewer,
    *,
    task: TaskRef,
    decision: Any,
    reasoning: str,
    based_on: Sequence[UUID] = (),
    action_key: str | None = None,
    token: int | None = None,
    client_ref: str | None = None,
    sensitivity: int | None = None,
    compartments: Sequence[str] | None = None,
) -> tuple[UUID, bool]:
    """Record a decision; its id, and whether it was made now (a repeated `client_ref` returns the first).

    Raises Conflict: human_owned, lease_lost, action_conflict (an active decision has this `action_key`); NotFound
    for something in `based_on` that one may not see; Forbidden for a label above one's clearance or below what the
    decision rests on.
    """
    label = _label(viewer, task, based_on, sensitivity, compartments)
    # Before the task is looked at: what was recorded stays recorded, whoever has the task by now.
    if client_ref is not None and (repeated := _repeated(viewer, label, client_ref)) is not None:
        return repeated, False
    hold_task(viewer, task.id, token=token, decides=True)
    row_id, event_id = new_id(), new_id()
    text = text_columns("decision", row_id, label, {"decision": decision, "reasoning": reasoning})
    made = run(
        f"insert into decision ({_COLUMNS}) values ({_PLACES}) on conflict do nothing returning id",
        [
            row_id,
            viewer.team,
            label.id,
            label.sensitivity,
            Jsonb(text["body"]) if text["body"] is not None else None,
            text["sealed"],
            viewer.membership,
            event_id,
            task.id,
            "active",
            list(based_on),
            action_key,
            client_ref,
        ],
    )
    if not made:
        return _existing(viewer, label, action_key, client_ref), False
    ledger.append(
        viewer,
        "decision.record",
        label=label.id,
        row_type="decision",
        row_id=row_id,
        task_id=task.id,
        data={"action_key": action_key} if action_key else None,
        event_id=event_id,
    )
    return row_id, True


def _label(
    viewer: Viewer,
    task: TaskRef,
    based_on: Sequence[UUID],
    sensitivity: int | None,
    compartments: Sequence[str] | None,
) -> LabelRef:
    """What was asked, else the least label that dominates the task's and those of what the decision rests on."""
    ids = set(based_on)
    bases: dict[UUID, int] = {}
    for model in (Observation, Decision) if ids else ():
        bases |= dict(visible_to(viewer, model._default_manager.filter(id__in=ids)).values_list("id", "label_id"))
    if ids - bases.keys():
        raise NotFound("/based_on")
    low = [label_by_id(label_id) for label_id in bases.values()]
    if sensitivity is None and compartments is None:
        return ensure_label(viewer, *highest([label_by_id(task.label_id), *low]))
    label = label_for(viewer, sensitivity, compartments, task)
    if low:
        least, words = highest(low)
        if label.sensitivity < least or not words.issubset(label.compartments):
            raise Forbidden("A decision's label must be at least the highest of what it rests on.")
    return label


def _repeated(viewer: Viewer, label: LabelRef, client_ref: str) -> UUID | None:
    mine = Decision.objects.filter(author_id=viewer.membership, label_id=label.id, client_ref=client_ref).first()
    if mine is None:
        return None
    current().settled = mine.clock_id
    return mine.id


def _existing(viewer: Viewer, label: LabelRef, action_key: str | None, client_ref: str | None) -> UUID:
    if client_ref is not None and (repeated := _repeated(viewer, label, client_ref)) is not None:
        return repeated
    # The holder is named only to those who may see it; a hidden one says no more than that there is one.
    holder = visible_to(viewer, Decision.objects.select_related("author")).filter(
        action_key=action_key, status="active"
    )
    found = holder.first()
    raise Conflict(
        Code.ACTION_CONFLICT,
        f"An active decision has the action key {action_key!r} already.",
        **({"decision": str(found.id), "held_by": found.author.name} if found else {}),
    )
