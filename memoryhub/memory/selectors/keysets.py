"""The ids of a task's rows, by keyset: for a page that rows of several kinds are merged into, and for what came next.

One index on (task, id) is walked, with no joins: a planner that begins with the events or the author reads the whole
task for a page of it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import run
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import SEQ, Row, Stored
from memoryhub.memory.selectors.memories import MemoryFilters, unexpired

_NARROWING = {
    "position": "r.id < %(position)s::uuid",
    "floor": "r.id >= %(floor)s::uuid",
    "after": "{seq} > %(after)s::bigint",
    "up_to": "{seq} <= %(up_to)s::bigint",
    "agent": "r.author_id = (select m.id from membership m where m.team_id = %(team)s::int and m.name = %(agent)s)",
    "tags": "r.tags @> %(tags)s::varchar[]",
}
_FIRST_AFTER = f"""
select d.id, o.id from unnest(%(ids)s::uuid[], %(authors)s::uuid[]) d(id, author) cross join lateral (
    select r.id from observation r
    where r.task_id = %(task)s::uuid and r.team_id = %(team)s::int and r.{VISIBLE} and r.author_id = d.author
      and not r.private and r.id > d.id and {SEQ} <= %(up_to)s::bigint order by r.task_id, r.id limit 1) o
"""


def page_of_ids(
    viewer: Viewer,
    schema: type[Row],
    filters: MemoryFilters,
    *,
    position: UUID | None = None,
    floor: UUID | None = None,
    limit: int,
) -> list[UUID]:
    """The ids of up to `limit` visible rows of `filters.task`, newest first, from below `position` down to `floor`.

    Of the filters, these count: `task`, `agent`, `tags`, `after_seq`, `up_to_seq`, `alive_at`.
    """
    params: dict[str, Any] = label_params(viewer) | {
        "task": filters.task,
        "position": position,
        "floor": floor,
        "after": filters.after_seq,
        "up_to": filters.up_to_seq,
        "agent": filters.agent,
        "tags": list(filters.tags) or None,
        "alive_at": filters.alive_at,
        "limit": limit,
    }
    seq = SEQ.replace("r.event_id", f"r.{schema.clock}")
    conditions = [condition.format(seq=seq) for name, condition in _NARROWING.items() if params[name] is not None]
    conditions += unexpired(schema, filters)
    where = " and ".join(["r.task_id = %(task)s::uuid", "r.team_id = %(team)s::int", f"r.{VISIBLE}", *conditions])
    table = schema.model._meta.db_table
    statement = f"select r.id from {table} r where {where} order by r.task_id desc, r.id desc limit %(limit)s::int"
    return [found for (found,) in run(statement, params)]


def observed_next(viewer: Viewer, filters: MemoryFilters, rows: Sequence[Stored[Any]]) -> list[tuple[UUID, UUID]]:
    """For each row of `filters.task`: its id, and that of what its author observed next, up to `filters.up_to_seq`.

    Without the rows that nothing visible followed. Private observations do not count.
    """
    if not rows:
        return []
    params = label_params(viewer) | {
        "ids": [row.id for row in rows],
        "authors": [row.author_id for row in rows],
        "task": filters.task,
        "up_to": filters.up_to_seq,
    }
    return [(row, following) for row, following in run(_FIRST_AFTER, params)]
