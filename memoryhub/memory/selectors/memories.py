"""Reading the memory's rows: observations, decisions, learnings, and other kinds that are read alike (memory.kinds).

By filter, newest first, a page at a time. Raw SQL, since this is the hot path: building the same ORM query costs
several times what the database takes to answer it (docs/performance.md, P2). Both locks hold: VISIBLE here, row-level
security below.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.fitting import BYTES, Fitted, ended, fit
from memoryhub.core.db.statements import run
from memoryhub.core.errors import NotFound
from memoryhub.core.transactions import Question
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import TASK_KEY, Row, Stored, clock, select

R = TypeVar("R", bound=Row)
T = TypeVar("T")


class MemoryFilters(msgspec.Struct):
    """Filters of a list. `tags_mode`: all or any of the tags; `up_to_seq`: the memory as of this `seq`.

    `alive_at`: the moment at which expiry is judged, instead of now (rows may have been removed since).

    `task_key`: the task's, where the caller has already read it for this viewer; it is then not looked up for each row.
    """

    task: UUID | None = None
    task_key: str | None = None
    ids: Sequence[UUID | str] | None = None
    events: Sequence[UUID] | None = None
    tags: Sequence[str] = ()
    tags_mode: str = "all"
    agent: str | None = None
    exclude_agent: str | None = None
    exclude_own: bool = False
    since: datetime | None = None
    until: datetime | None = None
    after_seq: int | None = None
    up_to_seq: int | None = None
    alive_at: datetime | None = None
    min_importance: float | None = None
    status: str | None = None
    signal_type: str | None = None
    source: UUID | None = None
    escalation: UUID | None = None
    pinned: bool = False
    # Set by narrow_since().
    by_ledger: bool | None = None
    id_from: UUID | None = None
    id_below: UUID | None = None


@cache
def columns(schema: type[Row]) -> str:
    """The SELECT list of a row `r`, which is joined with clock()."""
    return select(schema, seq="s.seq")


# Not expired; a pinned row never is.
LIVE = "(r.expires_at is null or r.expires_at > statement_timestamp() or r.pinned)"


def unexpired(schema: type[Row], filters: MemoryFilters) -> list[str]:
    """The condition on expiry, with the parameter `alive_at`; none for a kind whose rows do not expire."""
    if "pinned" not in schema.__struct_fields__:
        return []
    return [LIVE if filters.alive_at is None else LIVE.replace("statement_timestamp()", "%(alive_at)s::timestamptz")]


def rows(
    viewer: Viewer,
    schema: type[R],
    filters: MemoryFilters,
    *,
    position: Any = None,
    backwards: bool = False,
    limit: int,
    most_bytes: int | None = None,
) -> Fitted[Stored[R]]:
    """The rows that question() asks for."""
    asked = question(
        viewer, schema, filters, position=position, backwards=backwards, limit=limit, most_bytes=most_bytes
    )
    return asked.ask()


def question(
    viewer: Viewer,
    schema: type[R],
    filters: MemoryFilters,
    *,
    position: Any = None,
    backwards: bool = False,
    limit: int,
    most_bytes: int | None = None,
) -> Question[Fitted[Stored[R]]]:
    """Up to `limit` visible rows of a kind below `position` (an id), newest first; `backwards`: above it, oldest first.

    Expired ones are left out, even before they are removed. `most_bytes`: read up to about so many (Fitted).
    """
    condition, params = _conditions(viewer, schema, filters)
    params |= {"limit": limit, "position": position, "most_bytes": most_bytes}
    if position is not None:
        condition += f" and r.id {'>' if backwards else '<'} %(position)s::uuid"
    order = "asc" if backwards else "desc"
    wanted = columns(schema)
    if filters.task_key is not None:
        wanted = wanted.replace(TASK_KEY, "%(task_key)s::varchar")
        params["task_key"] = filters.task_key
    if most_bytes is not None:
        wanted = f"{wanted}, {BYTES} as bytes"
    table = schema.model._meta.db_table
    text = (
        f"select {wanted} from {table} r {clock(schema)} where {condition} order by r.id {order} limit %(limit)s::int"
    )
    make = partial(Stored, schema)
    if most_bytes is None:
        return Question(text, params, lambda found: Fitted(make(*row) for row in found))
    return Question(ended(text), params, lambda found: fit(found, most_bytes, make))


def lister(
    viewer: Viewer, schema: type[R], filters: MemoryFilters, *, most_bytes: int
) -> Callable[[Any, bool, int], Question[Fitted[Stored[R]]]]:
    """The function that reads a list page by page: `fetch(position, backwards, limit)`."""

    def fetch(position: Any, backwards: bool, limit: int) -> Question[Fitted[Stored[R]]]:
        return question(
            viewer, schema, filters, position=position, backwards=backwards, limit=limit, most_bytes=most_bytes
        )

    return fetch


def one(viewer: Viewer, schema: type[R], row_id: UUID | str) -> Question[Stored[R]]:
    """The visible row with this id. Raises NotFound, also when it has expired."""
    asked = question(viewer, schema, MemoryFilters(ids=[row_id]), limit=1)
    return Question(asked.text, asked.params, lambda found: only(asked.make(found)))


def only(found: Sequence[T]) -> T:
    """The one row. Raises NotFound."""
    if not found:
        raise NotFound()
    return found[0]


def narrowed(filters: Any, conditions: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The conditions of those of the filters that are set, and their parameters: the planner sees what is wanted."""
    given = {name: value for name in conditions if (value := getattr(filters, name)) is not None}
    return [conditions[name] for name in given], given


def count(viewer: Viewer, schema: type[Row], filters: MemoryFilters, *, up_to: int) -> Question[int]:
    """How many of the visible rows of a kind pass the filters; counting stops at `up_to`."""
    where, params = _conditions(viewer, schema, filters)
    table = schema.model._meta.db_table
    statement = f"select count(*) from (select from {table} r {clock(schema)} where {where} limit %(up_to)s::int) found"
    return Question(statement, params | {"up_to": up_to}, lambda found: int(found[0][0]))


# `after_seq` and `since` get further bounds, so that a large task is not scanned for a few new rows. Where the ledger
# has few events of few rows since then, it names them. Else the ids bound the scan: they are made by some process's
# clock a moment before COMMIT, so the margin is far longer than clock skew or a transaction.
_FEW_EVENTS, _FEW_ROWS = 200, 1000
_MARGIN = timedelta(hours=1)
_SINCE = """
select count(*), coalesce(sum(coalesce((e.data ->> 'count')::bigint, 1)), 0),
       (select event_id from event_seq where team_id = %(team)s::int and seq = %(seq)s::bigint)
from (select event_id from event_seq where team_id = %(team)s::int and seq > %(seq)s::bigint limit %(most)s::int) newer
left join event e on e.id = newer.event_id
"""
# The ids in a sub-query first: a planner that sees the order and the limit scans the task instead.
_BY_LEDGER = """r.id = any (array(select n.id from {table} n where n.{clock} = any (array(
    select s.event_id from event_seq s where s.team_id = %(team)s::int and s.seq > %(after_seq)s::bigint))))"""
_BELOW_TIME = 80  # bits of a UUIDv7 below its time


def id_near(moment: datetime | UUID, margin: timedelta) -> UUID:
    """The smallest id (UUIDv7, RFC 9562) of this moment, or of the time of this id, plus `margin`."""
    at = moment.int >> _BELOW_TIME if isinstance(moment, UUID) else int(moment.timestamp() * 1000)
    at = min(max(at + int(margin.total_seconds() * 1000), 0), 2**48 - 1)
    return UUID(int=at << _BELOW_TIME)


def narrow_since(viewer: Viewer, filters: MemoryFilters) -> None:
    """Add to filters with `after_seq`, `since` or `until` the bounds that keep their scan short."""
    floors = [id_near(filters.since, -_MARGIN)] if filters.since is not None else []
    if filters.after_seq is not None:
        asked = {"team": viewer.team, "seq": filters.after_seq, "most": _FEW_EVENTS + 1}
        ((events, rows, event_id),) = run(_SINCE, asked)
        filters.by_ledger = (events <= _FEW_EVENTS and rows <= _FEW_ROWS) or None
        floors += [id_near(event_id, -_MARGIN)] if event_id is not None else []
    filters.id_from = max(floors, default=None)
    filters.id_below = id_near(filters.until, _MARGIN) if filters.until is not None else None


_MEMBER = "(select id from membership where team_id = %(team)s::int and name = %({})s::varchar)"
# The condition of each filter that is in the statement only when it is set.
_CONDITIONS = {
    "task": "r.task_id = %(task)s::uuid",
    "ids": "r.id = any (%(ids)s::uuid[])",
    "events": "r.{clock} = any (%(events)s::uuid[])",
    "agent": f"r.author_id = {_MEMBER.format('agent')}",
    "exclude_agent": f"r.author_id is distinct from {_MEMBER.format('exclude_agent')}",
    "since": "r.created_at >= %(since)s::timestamptz",
    "until": "r.created_at < %(until)s::timestamptz",
    "min_importance": "r.importance >= %(min_importance)s::float8",
    "after_seq": "s.seq > %(after_seq)s::bigint",
    "up_to_seq": "s.seq <= %(up_to_seq)s::bigint",
    "status": "r.status = %(status)s::varchar",
    "signal_type": "r.signal_type = %(signal_type)s::varchar",
    "escalation": "r.escalation_id = %(escalation)s::uuid",
    "source": "r.source = %(source)s::uuid",
    "by_ledger": _BY_LEDGER,
    "id_from": "r.id >= %(id_from)s::uuid",
    "id_below": "r.id < %(id_below)s::uuid",
}


def _conditions(viewer: Viewer, schema: type[Row], filters: MemoryFilters) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = label_params(viewer) | {"own": viewer.membership}
    params |= {"tags": list(filters.tags), "min_importance": filters.min_importance, "alive_at": filters.alive_at}
    where = unexpired(schema, filters)
    if schema.stands:
        where.append(schema.stands)
    if filters.tags:
        where.append(f"r.tags {'@>' if filters.tags_mode == 'all' else '&&'} %(tags)s::varchar[]")
    if filters.pinned:
        where.append("r.pinned")
    conditions, given = narrowed(filters, _CONDITIONS)
    where += [condition.format(table=schema.model._meta.db_table, clock=schema.clock) for condition in conditions]
    params |= given
    for name in ("ids", "events") & given.keys():
        params[name] = list(given[name])
    if filters.exclude_own:
        where.append("r.author_id <> %(own)s::uuid")
    return " and ".join(["r.team_id = %(team)s::int", f"r.{VISIBLE}", *where]), params


def open_private(task: UUID) -> None:
    """Let this transaction read the task's private observations. The caller has checked the claim and records it."""
    run("select set_config('hub.opened_task', %s, true)", [str(task)])
