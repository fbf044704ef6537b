"""Observations: log one, or many with a result each."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.utils.crypto import salted_hmac

from memoryhub.core import work
from memoryhub.core.access.labels import LabelRef, ensure_label, label_by_id
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, FieldError, HubError, Invalid
from memoryhub.core.ids import new_id
from memoryhub.core.ledger.events import append
from memoryhub.core.models import Sensitivity
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import hold_task, now
from memoryhub.memory.selectors.tasks import TaskRef


@dataclass(slots=True)
class NewObservation:
    """What is to be logged. Without a label: the task's, else internal. `content`: an object or a text."""

    content: Any
    task: TaskRef | None = None
    tags: Sequence[str] = ()
    importance: float | None = None
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    private: bool = False
    pinned: bool = False
    dedupe: bool = False
    client_ref: str | None = None
    sensitivity: int | None = None
    compartments: Sequence[str] | None = None
    token: int | None = None  # of the task's lease: checked when it is there


@dataclass(slots=True)
class Logged:
    """The observation's id, and whether it was made now (else it is the one that was there)."""

    id: UUID
    created: bool


@dataclass(slots=True)
class _Row:
    item: NewObservation
    label: LabelRef
    id: UUID = field(default_factory=new_id)
    digest: bytes | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.item.dedupe:
            text = json.dumps(self.item.content, sort_keys=True)
            self.digest = salted_hmac("observation", text, algorithm="sha256").digest()

    @property
    def is_unique(self) -> bool:
        """Whether another one may stand in its way."""
        return self.item.client_ref is not None or self.digest is not None


@action("observation.log", roles=AGENTS | DESK, scope="memory:write")
def log(viewer: Viewer, *, item: NewObservation) -> Logged:
    """Log one observation. Raises Forbidden above one's clearance, Conflict (lease_lost) for an old token, Invalid for
    an expiry that is over.

    Repeating it with the same `client_ref`, or the same content with `dedupe`, returns the first one.
    """
    row = _checked(viewer, item, _clock([item]))
    return _held(viewer, row) or _insert(viewer, [row])[0]


@action("observation.log_batch", roles=AGENTS | DESK, scope="memory:write")
def log_batch(viewer: Viewer, *, items: Sequence[NewObservation]) -> list[Logged | HubError]:
    """Log many at once, one event a label; the result of each, in order. A refused one does not stop the others."""
    at = _clock(items)
    results: list[Logged | HubError] = []
    rows: list[_Row] = []
    places: list[int] = []
    for item in items:
        work.check()  # nothing is stored yet
        try:
            row = _checked(viewer, item, at)
            repeated = _held(viewer, row)
        except HubError as error:
            results.append(error)
            continue
        if repeated is None:
            places.append(len(results))
            rows.append(row)
        results.append(repeated or Logged(row.id, created=True))
    for place, logged in zip(places, _insert(viewer, rows), strict=True):
        results[place] = logged
    return results


def _checked(viewer: Viewer, item: NewObservation, at: datetime | None) -> _Row:
    _refuse_expired(item, at)
    if item.token is not None and item.task is None:
        raise Invalid(errors=(FieldError("/task", Code.MISSING, "A token is of a task: name the task."),))
    return _Row(item, _label(viewer, item))


def _held(viewer: Viewer, row: _Row) -> Logged | None:
    """Check the token that the item brings; the row that it repeats, if it does.

    That is looked for before the lease: what was logged stays logged, whoever has the task by now.
    """
    item = row.item
    if item.token is None or item.task is None:
        return None
    repeated = _existing(viewer, row) if row.is_unique else None
    if repeated is None:
        hold_task(viewer, item.task.id, token=item.token, decides=False)
    return repeated


def _clock(items: Sequence[NewObservation]) -> datetime | None:
    """The database's clock, by which expiries are judged; None when nothing expires."""
    return now() if any(item.expires_at for item in items) else None


def _refuse_expired(item: NewObservation, at: datetime | None) -> None:
    # Stored, it would never be seen, not even in its own answer.
    if at is not None and item.expires_at is not None and item.expires_at <= at:
        raise Invalid(errors=(FieldError("/expires_at", Code.OUT_OF_RANGE, "This expiry is over already."),))


def _label(viewer: Viewer, item: NewObservation) -> LabelRef:
    if item.sensitivity is None and item.compartments is None and item.task is not None:
        return label_by_id(item.task.label_id)
    return label_for(viewer, item.sensitivity, item.compartments, item.task)


def label_for(
    viewer: Viewer, sensitivity: int | None, compartments: Sequence[str] | None, task: TaskRef | None
) -> LabelRef:
    """The label that a new row gets: what was asked, else the task's, else internal."""
    base = label_by_id(task.label_id) if task is not None else None
    if sensitivity is None:
        sensitivity = base.sensitivity if base else min(viewer.clearance, Sensitivity.INTERNAL)
    if compartments is None:
        compartments = base.compartments if base else ()
    return ensure_label(viewer, sensitivity, compartments)


_TYPES = {
    "id": "uuid",
    "team_id": "int",
    "label_id": "int",
    "sensitivity": "int",
    "body": "jsonb",
    "sealed": "bytea",
    "author_id": "uuid",
    "event_id": "uuid",
    "task_id": "uuid",
    "tags": "varchar[]",
    "importance": "float8",
    "private": "bool",
    "pinned": "bool",
    "occurred_at": "timestamptz",
    "expires_at": "timestamptz",
    "client_ref": "varchar",
    "digest": "bytea",
}
# Of any number of rows, which come as one JSON text: a constant statement, prepared once, and one value to adapt.
# In JSON bytes are base64.
_INSERT = f"""
insert into observation ({", ".join(_TYPES)})
select {", ".join(f"decode({name}, 'base64')" if kind == "bytea" else name for name, kind in _TYPES.items())}
from jsonb_to_recordset(%(rows)s::jsonb)
  as r({", ".join(f"{name} {'text' if kind == 'bytea' else kind}" for name, kind in _TYPES.items())})
"""
_INSERT_UNIQUE = f"{_INSERT} on conflict do nothing returning id"


def _insert(viewer: Viewer, rows: list[_Row]) -> list[Logged]:
    if not rows:
        return []
    # One event for each label, and one for each label of private rows, which only their author hears of.
    events: defaultdict[tuple[int, bool], UUID] = defaultdict(new_id)
    values = msgspec.json.encode([_values(viewer, row, events) for row in rows]).decode()
    if not any(row.is_unique for row in rows):
        queue(_INSERT, {"rows": values})  # nothing can stand in the way, so nobody waits to hear of it
        made = {row.id for row in rows}
    else:
        made = {found for (found,) in run(_INSERT_UNIQUE, {"rows": values})}
    _record(viewer, [row for row in rows if row.id in made], events)
    logged = []
    for row in rows:
        there = Logged(row.id, created=True) if row.id in made else _existing(viewer, row)
        logged.append(there or _instead(viewer, row))
    return logged


def _instead(viewer: Viewer, row: _Row) -> Logged:
    """Store it in the place of one that has expired."""
    run(_FREE, _unique(viewer, row))
    return _insert(viewer, [row])[0]


def _values(viewer: Viewer, row: _Row, events: defaultdict[tuple[int, bool], UUID]) -> dict[str, Any]:
    item, label = row.item, row.label
    return {
        "id": row.id,
        "team_id": viewer.team,
        "label_id": label.id,
        "sensitivity": label.sensitivity,
        **text_columns("observation", row.id, label, {"content": item.content}),
        "author_id": viewer.membership,
        "event_id": events[label.id, item.private],
        "task_id": item.task.id if item.task else None,
        "tags": list(dict.fromkeys(item.tags)),
        "importance": item.importance,
        "private": item.private,
        "pinned": item.pinned,
        "occurred_at": item.occurred_at,
        "expires_at": item.expires_at,
        "client_ref": item.client_ref,
        "digest": row.digest,
    }


def _record(viewer: Viewer, made: list[_Row], events: dict[tuple[int, bool], UUID]) -> None:
    for (label_id, private), event_id in events.items():
        group = [row for row in made if row.label.id == label_id and row.item.private == private]
        if not group:
            continue
        tasks = {row.item.task.id if row.item.task else None for row in group}
        append(
            viewer,
            "observation.log",
            label=label_id,
            row_type="observation",
            row_id=group[0].id,
            task_id=tasks.pop() if len(tasks) == 1 else None,
            audience=viewer.membership if private else None,
            data={"count": len(group)} if len(group) > 1 else None,
            event_id=event_id,
        )


# The author's own, of the same label, that has the same `client_ref` or content. A look for each index, which finds one
# row: with `or` between them all of the author's would be read.
_SAME = """(
  select id from observation
  where author_id = %(author)s::uuid and label_id = %(label)s::int and client_ref = %(client_ref)s::varchar
  union all
  select id from observation
  where author_id = %(author)s::uuid and label_id = %(label)s::int and digest = %(digest)s::bytea
    and task_id = %(task)s::uuid
  union all
  select id from observation
  where author_id = %(author)s::uuid and label_id = %(label)s::int and digest = %(digest)s::bytea
    and task_id is null and %(task)s::uuid is null
)"""
_EXISTING = f"""
select id, event_id from observation
where id in {_SAME} and (expires_at is null or expires_at > statement_timestamp() or pinned) order by id limit 1
"""
# An expired observation, which nobody sees any more, gives up what makes it unique.
_FREE = f"""
update observation set client_ref = null, digest = null
where id in {_SAME} and not pinned and expires_at <= statement_timestamp()
"""


def _unique(viewer: Viewer, row: _Row) -> dict[str, Any]:
    item = row.item
    return {
        "author": viewer.membership,
        "label": row.label.id,
        "client_ref": item.client_ref,
        "digest": row.digest,
        "task": item.task.id if item.task else None,
    }


def _existing(viewer: Viewer, row: _Row) -> Logged | None:
    """The row that stands in the way and has not expired."""
    for found, event_id in run(_EXISTING, _unique(viewer, row)):
        current().depends_on_event = event_id
        return Logged(found, created=False)
    return None
