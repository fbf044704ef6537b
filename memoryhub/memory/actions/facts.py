"""Facts: put and delete. Each adds a version, by compare-and-set."""

from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET
from psycopg.types.json import Jsonb

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.access.labels import LabelRef, label_by_id
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, Conflict, FieldError, Invalid, PreconditionFailed
from memoryhub.core.ids import mark_of, new_id
from memoryhub.core.ledger import events
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory import models
from memoryhub.memory.actions.rows import column_types, columns_of, label_for, task_of, text_of
from memoryhub.memory.schemas.facts import Fact, NewFact
from memoryhub.memory.selectors.tasks import TaskRef, dominating_row


class Seen(NamedTuple):
    """The version of a fact that a change expects. `mark`: of its event (mark_of)."""

    id: UUID
    version: int
    mark: str


class Written(NamedTuple):
    """The version that a write made, now or before (a repeated `client_ref`)."""

    fact: UUID
    version: int
    created: bool


class Stale(PreconditionFailed):
    """412: the expected version is not the newest. `newest`: under the row's lock; `seen`: what the writer expected."""

    def __init__(self, newest: Seen, seen: Seen | None) -> None:
        super().__init__("There is a newer version of this fact." if seen else "This fact already exists.")
        self.newest, self.seen = newest, seen


class _Locked(NamedTuple):
    """A row of the key, locked until COMMIT."""

    id: UUID
    label_id: int
    version: int
    is_live: bool
    event_id: UUID


# In one order, so that writers of twins do not deadlock. Only columns of the row itself: after a wait for its lock
# PostgreSQL rereads the row, and nothing else.
_LOCK = f"""
select id, label_id, version, not deleted and coalesce(expires_at > statement_timestamp(), true), event_id from fact
where team_id = %(team)s::int and key = %(key)s::varchar and {VISIBLE} order by id for no key update
"""


@action("fact.put", roles=AGENTS | DESK, scope="memory:write")
def put(viewer: Viewer, *, key: str, item: NewFact, seen: Seen | None, label: str | None = None) -> Written:
    """Create a fact of this key (`seen` None), or its next version if `seen` is still the newest (compare-and-set).

    A change applies to the visible row whose label dominates its twins', or to the one that `label` names. A new fact
    has the label of `item`, else `label`; without either it is refused where a fact of the key is visible. Where the
    label had the key before, version numbers continue. Linearizable per row: it is locked before it is compared.

    Raises Stale (412), NotFound for a change of an absent fact, Conflict (ambiguous_key; already_exists for a
    `client_ref` of another fact), Forbidden above one's clearance, Invalid for a change to another label.
    """
    task = task_of(viewer, item)
    if item.valid_from is not None and item.valid_to is not None and item.valid_from >= item.valid_to:
        raise Invalid(errors=(FieldError("/valid_to", Code.OUT_OF_RANGE, "valid_to must be later than valid_from."),))
    while True:
        rows = _lock(viewer, key)
        # Before the rows are compared: a repeat returns its first version, whatever happened since.
        if item.client_ref is not None and (repeated := _repeated(viewer, key, item.client_ref)) is not None:
            return repeated
        if seen is None:
            found, target = _place(viewer, rows, item, task, label)
        else:
            found = _addressed(rows, label)
            target = _same_label(viewer, found, item, task)
        if found is not None and (seen is not None or found.is_live):
            _compare(found, seen)
        made = _write(viewer, key, found, target, item, task)
        if made is not None:
            return made
        # A concurrent writer has inserted it: now there is a row to lock.


@action("fact.delete", roles=AGENTS | DESK, scope="memory:write")
def delete(viewer: Viewer, *, key: str, seen: Seen, label: str | None = None) -> Written:
    """Delete a fact, by a version without a value, if `seen` is still the newest. Raises as put()."""
    found = _addressed(_lock(viewer, key), label)
    _compare(found, seen)
    made = _write(viewer, key, found, label_by_id(found.label_id), None, None)
    assert made is not None, "a locked row exists"
    return made


def _lock(viewer: Viewer, key: str) -> list[_Locked]:
    return [_Locked(*row) for row in run(_LOCK, label_params(viewer) | {"key": key})]


def _addressed(rows: list[_Locked], label: str | None) -> _Locked:
    """The row that a change applies to."""
    return dominating_row([row for row in rows if row.is_live], label)


def _compare(found: _Locked, seen: Seen | None) -> None:
    newest = Seen(found.id, found.version, mark_of(found.event_id))
    if newest != seen:
        raise Stale(newest, seen)


def _same_label(viewer: Viewer, found: _Locked, item: NewFact, task: TaskRef | None) -> LabelRef:
    """The row's label, which a change keeps. Raises Invalid when `item` names another."""
    held = label_by_id(found.label_id)
    if item.names_label and label_for(viewer, item, task) != held:
        place = "/sensitivity" if item.sensitivity is not UNSET else "/compartments"
        text = f"This fact's label is {held}; a change keeps it. Create a twin with If-None-Match: *."
        raise Invalid(errors=(FieldError(place, Code.BAD_CHOICE, text),))
    return held


def _place(
    viewer: Viewer, rows: list[_Locked], item: NewFact, task: TaskRef | None, label: str | None
) -> tuple[_Locked | None, LabelRef]:
    """Where a new fact goes: the existing row, if any, and the label."""
    if label is not None and not item.names_label:
        level, *words = label.split("+")
        item = msgspec.structs.replace(item, sensitivity=level, compartments=words)
    target = label_for(viewer, item, task)
    if label is not None and str(target) != label:
        raise Invalid(errors=(FieldError("?label", Code.BAD_CHOICE, f"The body names another label: {target}."),))
    live = [row for row in rows if row.is_live]
    if live and not item.names_label:
        return dominating_row(live, None), target
    return next((row for row in rows if row.label_id == target.id), None), target


_REPEATED = f"""
select f.id, f.key, v.version, v.event_id from fact_version v join fact f on f.id = v.fact_id
where v.author_id = %(author)s::uuid and v.client_ref = %(client_ref)s::varchar and v.{VISIBLE}
order by f.key <> %(key)s::varchar
"""


def _repeated(viewer: Viewer, key: str, client_ref: str) -> Written | None:
    params = {"author": viewer.membership, "client_ref": client_ref, "key": key}
    for fact, found_key, version, event_id in run(_REPEATED, label_params(viewer) | params):
        if found_key != key:
            raise Conflict(Code.ALREADY_EXISTS, "You have used this client_ref for another fact.", key=found_key)
        current().depends_on_event = event_id
        return Written(fact, version, created=False)
    return None


_MADE_HERE = ("id", "fact_id", "created_at")
_VALUES = {
    name: f"%({name})s::{kind}" for name, kind in column_types(models.FactVersion).items() if name not in _MADE_HERE
} | {"expires_at": "statement_timestamp() + make_interval(secs => %(ttl_seconds)s::int)"}
_NAMES, _NEW = ", ".join(_VALUES), ", ".join(_VALUES.values())
# Sealed text is bound to its row (associated data), so each of the two rows has its own.
_KEPT = _NEW.replace("%(sealed)s", "%(sealed_version)s")
_STAY = ("team_id", "label_id", "sensitivity")  # which a change keeps
_CHANGED = ", ".join(f"{name} = {value}" for name, value in _VALUES.items() if name not in _STAY)

# Both rows in one statement, so that they have the same time.
_CHANGE = f"""
with kept as (insert into fact_version (id, fact_id, {_NAMES}) values (%(version_id)s::uuid, %(id)s::uuid, {_KEPT}))
update fact set changed_at = statement_timestamp(), {_CHANGED}
where id = %(id)s::uuid and version = %(version)s::int - 1
"""
_MAKE = f"""
with made as (insert into fact (id, key, changed_at, {_NAMES})
    values (%(id)s::uuid, %(key)s::varchar, statement_timestamp(), {_NEW})
    on conflict (team_id, label_id, key) do nothing returning id)
insert into fact_version (id, fact_id, {_NAMES}) select %(version_id)s::uuid, id, {_KEPT} from made returning id
"""


def _write(
    viewer: Viewer, key: str, found: _Locked | None, label: LabelRef, item: NewFact | None, task: TaskRef | None
) -> Written | None:
    """Write the next version of a locked row, or the first of a new one; None when a concurrent writer inserted it."""
    fact, version = (found.id, found.version + 1) if found else (new_id(), 1)
    version_id, event_id = new_id(), new_id()
    text = {} if item is None else text_of(Fact, item)
    item = item or NewFact(value=None)
    row = columns_of(
        viewer,
        Fact,
        label,
        item,
        text,
        row_id=fact,
        event_id=event_id,
        text_version=version,
        version=version,
        deleted=not text,
        task_id=task.id if task else None,
    )
    params = row | {
        "body": Jsonb(row["body"]) if row["body"] is not None else None,
        "key": key,
        "ttl_seconds": item.ttl_seconds,
        "version_id": version_id,
        "sealed_version": text_columns("fact_version", version_id, label, text)["sealed"],
    }
    if found is not None:
        queue(_CHANGE, params)  # locked and compared, so its result needs no wait
    elif not run(_MAKE, params):
        return None
    events.append(
        viewer,
        "fact.put" if text else "fact.delete",
        label=label.id,
        row_type="fact",
        row_id=fact,
        task_id=params["task_id"],
        data={"key": key, "version": version},
        event_id=event_id,
    )
    return Written(fact, version, created=found is None or not found.is_live)
