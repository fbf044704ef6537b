"""Observations: log one, or a batch with a result for each."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.utils.crypto import salted_hmac

from memoryhub.core import work
from memoryhub.core.access.labels import LabelRef
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.clock import now
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NoSuchTask
from memoryhub.core.ids import new_id
from memoryhub.core.ledger.events import append
from memoryhub.core.readable import readable
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory import models
from memoryhub.memory.actions.leases import hold_task
from memoryhub.memory.actions.rows import columns_of, insert_many, label_for, rest_on, task_of, text_of
from memoryhub.memory.schemas.observations import NewObservation, Observation
from memoryhub.memory.schemas.rows import Stored, select
from memoryhub.memory.selectors.tasks import TaskRef, refs_by_key


@dataclass(slots=True)
class Logged:
    """The observation's id, and whether it is new (else it existed already).

    `written`: the row as the write itself returned it, once its transaction has ended; None: it is to be read anew.
    """

    id: UUID
    created: bool
    written: Callable[[], Stored[Observation]] | None = None


@dataclass(slots=True)
class _Row:
    item: NewObservation
    task: TaskRef | None
    label: LabelRef
    id: UUID = field(default_factory=new_id)
    digest: bytes | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.item.dedupe:
            text = json.dumps(self.item.content, sort_keys=True)
            self.digest = salted_hmac("observation", text, algorithm="sha256").digest()

    @property
    def is_unique(self) -> bool:
        """Whether it may conflict with another row."""
        return self.item.client_ref is not None or self.digest is not None


@action("observation.log", roles=AGENTS | DESK, scope="memory:write")
def log(viewer: Viewer, *, item: NewObservation, task: TaskRef | None = None) -> Logged:
    """Log one observation.

    A repeated `client_ref`, or the same content with `dedupe`, returns the first. `task`: the item's, where the caller
    has already read it. Raises NoSuchTask, Forbidden above one's clearance, Conflict (lease_lost) for a stale token,
    Invalid for an expiry in the past or a token without a task.
    """
    row = _checked(viewer, item, task or task_of(viewer, item), _clock([item]))
    repeated = _held(viewer, row)
    if repeated is not None:
        return repeated
    return _insert(viewer, [row])[0] if row.is_unique or row.label.is_sealed else _write(viewer, row)


@action("observation.log_batch", roles=AGENTS | DESK, scope="memory:write")
def log_batch(viewer: Viewer, *, items: Sequence[NewObservation]) -> list[Logged | HubError]:
    """Log a batch, with one event per label; the result of each, in order. A refused item does not stop the others."""
    at = _clock(items)
    named = {item.task for item in items if item.task is not None}
    tasks = refs_by_key(viewer, named) if named else {}
    results: list[Logged | HubError] = []
    rows: list[_Row] = []
    places: list[int] = []
    for item in items:
        work.check()  # nothing is stored yet
        try:
            if item.task is not None and item.task not in tasks:
                raise NoSuchTask("/task")
            row = _checked(viewer, item, tasks[item.task] if item.task is not None else None, at)
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


def _checked(viewer: Viewer, item: NewObservation, task: TaskRef | None, at: datetime | None) -> _Row:
    # Stored, it would never be visible, not even in its own answer.
    if at is not None and item.expires_at is not None and item.expires_at <= at:
        raise Invalid(errors=(FieldError("/expires_at", Code.OUT_OF_RANGE, "This expiry is in the past."),))
    if item.token is not None and task is None:
        raise Invalid(errors=(FieldError("/task", Code.MISSING, "A token belongs to a task: name the task."),))
    return _Row(item, task, label_for(viewer, item, task))


def _held(viewer: Viewer, row: _Row) -> Logged | None:
    """Check the item's token; returns the row that the item repeats, if any.

    The repeat is looked up before the lease: what was logged stays logged, whoever holds the task by now.
    """
    if row.item.token is None or row.task is None:
        return None
    repeated = _existing(viewer, row) if row.is_unique else None
    if repeated is None:
        hold_task(viewer, row.task.id, token=row.item.token, decides=False)
    return repeated


def _clock(items: Sequence[NewObservation]) -> datetime | None:
    """The database's clock, by which expiries are judged; None when nothing expires."""
    return now() if any(item.expires_at for item in items) else None


def _insert(viewer: Viewer, rows: list[_Row]) -> list[Logged]:
    if not rows:
        return []
    # One event per label, and one per label of private rows, which is for their author only.
    events: defaultdict[tuple[int, bool], UUID] = defaultdict(new_id)
    values = [_values(viewer, row, events) for row in rows]
    params = {"rows": msgspec.json.encode(values).decode()}
    unique = any(row.is_unique for row in rows)
    statement = insert_many(models.Observation, tuple(values[0]), unique=unique)
    if not unique:
        queue(statement, params)  # nothing can conflict, so its result needs no wait
        made = {row.id for row in rows}
    else:
        made = {found for (found,) in run(statement, params)}
    _record(viewer, [row for row in rows if row.id in made], events)
    logged = []
    for row in rows:
        there = Logged(row.id, created=True) if row.id in made else _existing(viewer, row)
        logged.append(there or _instead(viewer, row))
    return logged


# What the writer knows already is not looked up; the `seq` is known after COMMIT.
_RETURNING = select(Observation, seq="null", author="%(author)s::varchar", task="%(task)s::varchar")


def _write(viewer: Viewer, row: _Row) -> Logged:
    """Store one plain row that can conflict with none: its answer needs no second transaction."""
    events: defaultdict[tuple[int, bool], UUID] = defaultdict(new_id)
    values = _values(viewer, row, events)
    params = {"rows": msgspec.json.encode([values]).decode(), "author": viewer.name, "task": row.item.task}
    stored = queue(insert_many(models.Observation, tuple(values), returning=_RETURNING), params)
    _record(viewer, [row], events)
    transaction = current()

    def written() -> Stored[Observation]:
        ((*columns,),) = stored.rows()
        made = Stored(Observation, *columns)
        assert transaction.seq is not None
        made.answer.seq = transaction.seq
        return made

    return Logged(row.id, created=True, written=written)


def _instead(viewer: Viewer, row: _Row) -> Logged:
    """Store it in place of an expired one."""
    run(_FREE, _unique(viewer, row))
    return _insert(viewer, [row])[0]


def _values(viewer: Viewer, row: _Row, events: defaultdict[tuple[int, bool], UUID]) -> dict[str, Any]:
    item = row.item
    return columns_of(
        viewer,
        Observation,
        row.label,
        item,
        text_of(Observation, item),
        row_id=row.id,
        event_id=events[row.label.id, item.private],
        task_id=row.task.id if row.task else None,
        tags=list(dict.fromkeys(readable(tag).text for tag in item.tags)),
        digest=row.digest,
    )


def _record(viewer: Viewer, made: list[_Row], events: dict[tuple[int, bool], UUID]) -> None:
    for (label_id, private), event_id in events.items():
        group = [row for row in made if row.label.id == label_id and row.item.private == private]
        if not group:
            continue
        tasks = {row.task.id if row.task else None for row in group}
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


# The author's own row of the same label with the same `client_ref` or content. One lookup per index, each for one row:
# with `or` between them all of the author's would be read.
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
# An expired observation, which is no longer visible, releases what makes it unique.
_FREE = f"""
update observation set client_ref = null, digest = null
where id in {_SAME} and not pinned and expires_at <= statement_timestamp()
"""


def _unique(viewer: Viewer, row: _Row) -> dict[str, Any]:
    return {
        "author": viewer.membership,
        "label": row.label.id,
        "client_ref": row.item.client_ref,
        "digest": row.digest,
        "task": row.task.id if row.task else None,
    }


def _existing(viewer: Viewer, row: _Row) -> Logged | None:
    """The unexpired row that conflicts."""
    found = rest_on(run(_EXISTING, _unique(viewer, row)))
    return None if found is None else Logged(found, created=False)
