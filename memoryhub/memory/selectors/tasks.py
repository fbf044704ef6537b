"""Reading tasks: by key (which may have several rows, one per label), by filter.

Raw SQL, as for memories: a claim's answer spent most of its time building an ORM query.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import BYTES, Fitted, ended, fit
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, Conflict, NoSuchTask, NotFound
from memoryhub.core.transactions import Question
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import Stored, select
from memoryhub.memory.schemas.tasks import LIVE_LEASE, Lease, Task
from memoryhub.memory.selectors.memories import narrowed, only


class TaskRef(Protocol):
    """What a write needs to know of its task; an instance of the model has it, too."""

    @property
    def id(self) -> UUID: ...
    @property
    def label_id(self) -> int: ...


Found = TypeVar("Found", bound=TaskRef)


class StoredTask(Stored[Task]):
    """A task as it was read, with its lease: `token`, and where it is live, its holder's name."""

    __slots__ = ("lease_expires_at", "token")

    def __init__(self, token: int, lease_expires_at: datetime | None, *columns: Any) -> None:
        super().__init__(Task, *columns)
        self.token, self.lease_expires_at = token, lease_expires_at

    @property
    def key(self) -> str:
        return self.answer.key

    def show(self) -> Task:
        made = super().show()
        if made.assigned_to is not None and self.lease_expires_at is not None:
            made.lease = Lease(self.token, made.assigned_to, self.lease_expires_at)
        made.in_progress = made.lease is not None
        return made


@dataclass(frozen=True, slots=True)
class TaskFilters:
    """Filters of a list. `held_by`: the holder of a live lease; `text`: part of the key or, unsealed, of the title."""

    status: str | None = None
    held_by: str | None = None
    text: str | None = None


_TASK = "r.token, r.lease_expires_at, " + select(Task, change="coalesce(r.change_id, r.event_id)")
_OF_VIEWER = f"from task r where r.team_id = %(team)s::int and r.{VISIBLE}"
# The visible tasks, each with its label and the event that created it: for statements over the ledger.
CREATED = f"select r.id, r.label_id, r.event_id as created {_OF_VIEWER}"
_FEW_TWINS = 8
_BY_KEY = f"select {_TASK} {_OF_VIEWER} and r.key = %(key)s::varchar limit {_FEW_TWINS + 1}"
_THIS = f"select {_TASK} from task r where r.id = %(id)s::uuid and r.{VISIBLE}"
_CONDITIONS = {
    "status": "r.status = %(status)s::varchar",
    "held_by": f"""{LIVE_LEASE} and r.holder_id = (
        select m.id from membership m where m.team_id = %(team)s::int and m.name = %(held_by)s::varchar)""",
    "text": """(strpos(upper(r.key), upper(%(text)s::text)) > 0
        or strpos(upper(readable(r.body ->> 'title')), upper(readable(%(text)s::text))) > 0)""",
}


def by_key(viewer: Viewer, key: str, label: str | None = None) -> StoredTask:
    """The visible task of this key: the one whose label dominates those of all its visible twins.

    Raises NotFound, or Conflict (ambiguous_key) with the visible labels when no twin dominates; `label` chooses.
    """
    rows = [StoredTask(*row) for row in run(_BY_KEY, label_params(viewer) | {"key": key})]
    if len(rows) > _FEW_TWINS:  # their texts can be large
        return find_task(viewer, ref_by_key(viewer, key, label).id)
    return dominating_row(rows, label, NoSuchTask)


def find_task(viewer: Viewer, task_id: UUID | str) -> StoredTask:
    """The visible task of this id. Raises NotFound."""
    return one(viewer, task_id).ask()


def one(viewer: Viewer, task_id: UUID | str) -> Question[StoredTask]:
    """As find_task(), as a Question."""
    return Question(_THIS, label_params(viewer) | {"id": task_id}, lambda found: StoredTask(*only(found)))


def tasks(
    viewer: Viewer, filters: TaskFilters, *, position: Any = None, backwards: bool = False, limit: int, most_bytes: int
) -> Fitted[StoredTask]:
    """Up to `limit` visible tasks below `position` (an id), newest first; `backwards`: above it, oldest first.

    Reads up to about `most_bytes`.
    """
    params = label_params(viewer) | {"position": position, "limit": limit, "most_bytes": most_bytes}
    conditions, given = narrowed(filters, _CONDITIONS)
    if position is not None:
        conditions.append(f"r.id {'>' if backwards else '<'} %(position)s::uuid")
    where = " and ".join([_OF_VIEWER, *conditions])
    order = "asc" if backwards else "desc"
    text = f"select {_TASK}, {BYTES} as bytes {where} order by r.id {order} limit %(limit)s::int"
    return fit(run(ended(text), params | given), most_bytes, StoredTask)


# The holders as an array, which is an index condition; as a join, all of a team's tasks were read.
_HOLDINGS = f"""
select (select m.name from membership m where m.id = r.holder_id), r.key
from task r where r.team_id = %(team)s::int and r.{VISIBLE} and {LIVE_LEASE} and r.holder_id = any (array(
    select m.id from membership m where m.team_id = %(team)s::int and m.name = any (%(names)s::varchar[])))
order by r.id limit 1000
"""


def holdings(viewer: Viewer, names: Iterable[str]) -> dict[str, list[str]]:
    """Name -> keys of the visible tasks that the member holds, the oldest first; at most 1,000 in all."""
    held: dict[str, list[str]] = {}
    for name, key in run(_HOLDINGS, label_params(viewer) | {"names": list(names)}):
        held.setdefault(name, []).append(key)
    return held


class Ref(NamedTuple):
    """A task's id, key and label, without its text."""

    id: UUID
    key: str
    label_id: int


_REFS = f"select id, key, label_id from task where team_id = %(team)s and key = any (%(keys)s::varchar[]) and {VISIBLE}"


def refs_by_key(viewer: Viewer, keys: Iterable[str]) -> dict[str, Ref]:
    """The tasks of these keys, in one query and without their text; a missing or ambiguous key is left out."""
    twins: dict[str, list[Ref]] = {}
    for row in run(_REFS, {**label_params(viewer), "keys": list(keys)}):
        twins.setdefault(row[1], []).append(Ref(*row))
    found = {}
    for key, rows in twins.items():
        with suppress(Conflict):
            found[key] = dominating_row(rows, None)
    return found


def ref_by_key(viewer: Viewer, key: str, label: str | None = None) -> Ref:
    """As by_key(), for writes. Raises NotFound, Conflict (ambiguous_key)."""
    rows = run(_REFS, {**label_params(viewer), "keys": [key]})
    return dominating_row([Ref(*row) for row in rows], label, NoSuchTask)


# int4eq, as in the policies (core.access.rls): a row is found by its id, and never by scanning its team.
_BY_ID = f"""
select id, key, label_id from task where id = any (%(ids)s::uuid[]) and int4eq(team_id, %(team)s) and {VISIBLE}
"""


def refs_by_id(viewer: Viewer, ids: Iterable[UUID]) -> dict[UUID, Ref]:
    """Id -> task, of those that the viewer may see."""
    return {row[0]: Ref(*row) for row in run(_BY_ID, {**label_params(viewer), "ids": list(ids)})}


def keys_by_id(viewer: Viewer, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Id -> key of those of the tasks that the viewer may see."""
    return {task.id: task.key for task in refs_by_id(viewer, set(ids)).values()}


MOST_LABELS = 1000  # are listed of an ambiguous key


def dominating_row(rows: Iterable[Found], label: str | None, absent: type[NotFound] = NotFound) -> Found:
    """The one of the visible rows of a key whose label dominates all others', or is `label`. Raises as by_key(), and
    `absent` without rows.
    """
    twins = [(label_by_id(row.label_id), row) for row in rows]
    if label is not None:
        twins = [(found, row) for found, row in twins if str(found) == label]
    if not twins:
        raise absent()
    for found, row in twins:
        if all(found.dominates(other) for other, _ in twins):
            return row
    raise Conflict(
        Code.AMBIGUOUS_KEY,
        "Several visible rows have this key, and none of their labels dominates the others; choose one by ?label=.",
        labels=sorted(str(found) for found, _ in twins)[:MOST_LABELS],
    )
