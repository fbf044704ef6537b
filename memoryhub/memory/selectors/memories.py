"""Reading observations, decisions and learnings: by filter, newest first, a window at a time.

Raw statements, since this is what agents do all day: an ORM query of the same costs several times as much to build
as the database takes to answer it (docs/performance.md, P2). Both locks hold: VISIBLE here, row-level security below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.fitting import BYTES, Fitted, ended, fit
from memoryhub.core.db.pipeline import Rows
from memoryhub.core.db.statements import run
from memoryhub.core.transactions import read_after, read_last
from memoryhub.core.viewers import Viewer

Row = TypeVar("Row")


@dataclass(slots=True)
class Filters:
    """What a list is narrowed by. `tags_mode`: all or any of the tags; `up_to_seq`: as the memory was then.

    `alive_at`: with what had not expired then, instead of now (it may have been removed).

    `task_key`: the task's, where the caller has found it for this viewer, so that it is not looked up for each row.
    """

    task: UUID | None = None
    task_key: str | None = None
    ids: Sequence[UUID] | None = None
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
    pinned: bool = False
    # By narrow_since().
    by_ledger: bool | None = None
    id_from: UUID | None = None
    id_below: UUID | None = None


class ObservationRow(NamedTuple):
    """An observation with its `seq`, author and task; `task_key` None where the reader may not see the task."""

    id: UUID
    seq: int
    label_id: int
    author_id: UUID
    author_name: str
    created_at: datetime
    body: Any
    sealed: bytes | None
    task_key: str | None
    event_id: UUID
    client_ref: str | None
    tags: list[str]
    importance: float | None
    private: bool
    pinned: bool
    occurred_at: datetime | None
    expires_at: datetime | None


class DecisionRow(NamedTuple):
    """A decision, likewise."""

    id: UUID
    seq: int
    label_id: int
    author_id: UUID
    author_name: str
    created_at: datetime
    body: Any
    sealed: bytes | None
    task_key: str | None
    event_id: UUID
    client_ref: str | None
    status: str
    based_on: list[UUID]
    action_key: str | None
    supersedes: UUID | None
    superseded_by: UUID | None
    outcome: str | None
    text_version: int


class LearningRow(NamedTuple):
    """A learning, likewise. `source`: the decision or escalation that it was made of."""

    id: UUID
    seq: int
    label_id: int
    author_id: UUID
    author_name: str
    created_at: datetime
    body: Any
    sealed: bytes | None
    task_key: str | None
    event_id: UUID
    client_ref: str | None
    signal_type: str
    source: UUID | None
    text_version: int


# Of a row `r`. Looked up for each, since a plain join lets the planner begin at the ledger and sort a task's memory.
SEQ = "(select s.seq from event_seq s where s.event_id = r.event_id)"
# The same laterally: an expression would be worked out twice where it is a condition, too. OFFSET 0 keeps it apart.
CLOCK = "left join lateral (select q.seq from event_seq q where q.event_id = r.event_id offset 0) s on true"
AUTHOR = "(select m.name from membership m where m.id = r.author_id)"
TASK_KEY = f"(select t.key from task t where t.id = r.task_id and t.{VISIBLE})"
_COMMON = (
    f"r.id, s.seq, r.label_id, r.author_id, {AUTHOR}, r.created_at, r.body, r.sealed, {TASK_KEY},"
    " r.event_id, r.client_ref"
)
_OBSERVATION = f"{_COMMON}, r.tags, r.importance, r.private, r.pinned, r.occurred_at, r.expires_at"
# Through the label of the newer one: a decision may be seen to be superseded without seeing by what.
_NEWER = f"(select n.id from decision n where n.supersedes = r.id and n.{VISIBLE})"
_DECISION = f"{_COMMON}, r.status, r.based_on, r.action_key, r.supersedes, {_NEWER}, r.outcome, r.text_version"
# Beside CLOCK.
LEARNING = f"{_COMMON}, r.signal_type, r.source, r.text_version"


# What has not expired: while it is pinned, nothing does.
LIVE = "(r.expires_at is null or r.expires_at > statement_timestamp() or r.pinned)"


def live(filters: Filters) -> str:
    """The condition on expiry for an observation `r`, which may have the parameter `alive_at`."""
    return LIVE if filters.alive_at is None else LIVE.replace("statement_timestamp()", "%(alive_at)s::timestamptz")


def observations(
    viewer: Viewer,
    filters: Filters,
    *,
    position: Any = None,
    backwards: bool = False,
    limit: int,
    last: bool = False,
    most_bytes: int | None = None,
) -> Fitted[ObservationRow]:
    """Up to `limit` visible observations below `position` (an id), newest first; above it, oldest first, `backwards`.

    Expired ones are left out, also before they are removed. `last`: nothing else is to be read (read_last).
    `most_bytes`: read no further than these hold (Fitted).
    """
    asked = _observations(viewer, filters, position, backwards, limit, most_bytes)
    return _made(read_last(*asked) if last else run(*asked), ObservationRow, most_bytes)


def observation_after(viewer: Viewer, row_id: UUID) -> Callable[[], list[ObservationRow]]:
    """An observation as it is when this transaction is over: what is returned tells it then (read_after)."""
    asked = read_after(*_observations(viewer, Filters(ids=[row_id]), None, False, 1))
    return lambda: [ObservationRow(*row) for row in asked.rows()]


def _observations(
    viewer: Viewer, filters: Filters, position: Any, backwards: bool, limit: int, most_bytes: int | None = None
) -> tuple[str, dict[str, Any]]:
    where = _of_observations(filters)
    return _asked(viewer, "observation", _OBSERVATION, where, filters, position, backwards, limit, most_bytes)


def decisions(
    viewer: Viewer,
    filters: Filters,
    *,
    position: Any = None,
    backwards: bool = False,
    limit: int,
    most_bytes: int | None = None,
) -> Fitted[DecisionRow]:
    """Up to `limit` visible decisions, likewise."""
    asked = _asked(viewer, "decision", _DECISION, [], filters, position, backwards, limit, most_bytes)
    return _made(run(*asked), DecisionRow, most_bytes)


def learnings(
    viewer: Viewer,
    filters: Filters,
    *,
    position: Any = None,
    backwards: bool = False,
    limit: int,
    most_bytes: int | None = None,
) -> Fitted[LearningRow]:
    """Up to `limit` visible learnings, likewise."""
    asked = _asked(viewer, "learning", LEARNING, [], filters, position, backwards, limit, most_bytes)
    return _made(run(*asked), LearningRow, most_bytes)


def _made(rows: Rows, make: Callable[..., Row], most_bytes: int | None) -> Fitted[Row]:
    return Fitted(make(*row) for row in rows) if most_bytes is None else fit(rows, most_bytes, make)


def count(viewer: Viewer, table: str, filters: Filters, *, up_to: int) -> int:
    """How many of the visible observations or decisions pass the filters; counting ends at `up_to`."""
    where, params = _conditions(viewer, table, filters, _of_observations(filters) if table == "observation" else [])
    statement = f"select count(*) from (select from {table} r {CLOCK} where {where} limit %(up_to)s::int) found"
    ((found,),) = run(statement, {**params, "up_to": up_to})
    return int(found)


def _of_observations(filters: Filters) -> list[str]:
    where = [live(filters)]
    if filters.tags:
        where.append(f"r.tags {'@>' if filters.tags_mode == 'all' else '&&'} %(tags)s::varchar[]")
    if filters.min_importance is not None:
        where.append("r.importance >= %(min_importance)s::float8")
    if filters.pinned:
        where.append("r.pinned")
    return where


# What was asked for since is bounded twice more, so that a large task is not searched through for a few new rows. Where
# the ledger holds few events of few rows since, it tells which. Else the ids bound where to look: they are made by some
# process's clock a moment before COMMIT, so by far more than clocks differ or transactions last.
_FEW_EVENTS, _FEW_ROWS = 200, 1000
_MARGIN = timedelta(hours=1)
_SINCE = """
select count(*), coalesce(sum(coalesce((e.data ->> 'count')::bigint, 1)), 0),
       (select event_id from event_seq where team_id = %(team)s::int and seq = %(seq)s::bigint)
from (select event_id from event_seq where team_id = %(team)s::int and seq > %(seq)s::bigint limit %(most)s::int) newer
left join event e on e.id = newer.event_id
"""
# The ids by themselves first: a planner that sees the order and the limit walks through the task instead.
_BY_LEDGER = """r.id = any (array(select n.id from {table} n where n.event_id = any (array(
    select s.event_id from event_seq s where s.team_id = %(team)s::int and s.seq > %(after_seq)s::bigint))))"""
_BELOW_TIME = 80  # bits of a UUIDv7 below its time


def id_near(moment: datetime | UUID, margin: timedelta) -> UUID:
    """The smallest id (UUIDv7, RFC 9562) of this moment, or of when this id was made, and so much later."""
    at = moment.int >> _BELOW_TIME if isinstance(moment, UUID) else int(moment.timestamp() * 1000)
    at = min(max(at + int(margin.total_seconds() * 1000), 0), 2**48 - 1)
    return UUID(int=at << _BELOW_TIME)


def narrow_since(viewer: Viewer, filters: Filters) -> None:
    """Add to filters with `after_seq`, `since` or `until` what keeps their search short."""
    floors = [id_near(filters.since, -_MARGIN)] if filters.since is not None else []
    if filters.after_seq is not None:
        asked = {"team": viewer.team, "seq": filters.after_seq, "most": _FEW_EVENTS + 1}
        ((events, rows, event_id),) = run(_SINCE, asked)
        filters.by_ledger = (events <= _FEW_EVENTS and rows <= _FEW_ROWS) or None
        floors += [id_near(event_id, -_MARGIN)] if event_id is not None else []
    filters.id_from = max(floors, default=None)
    filters.id_below = id_near(filters.until, _MARGIN) if filters.until is not None else None


_MEMBER = "(select id from membership where team_id = %(team)s::int and name = %({})s::varchar)"
# What narrows them; a condition is only there when its filter is, so that the planner sees what is asked.
_CONDITIONS = {
    "task": "r.task_id = %(task)s::uuid",
    "ids": "r.id = any (%(ids)s::uuid[])",
    "events": "r.event_id = any (%(events)s::uuid[])",
    "agent": f"r.author_id = {_MEMBER.format('agent')}",
    "exclude_agent": f"r.author_id is distinct from {_MEMBER.format('exclude_agent')}",
    "since": "r.created_at >= %(since)s::timestamptz",
    "until": "r.created_at < %(until)s::timestamptz",
    "after_seq": "s.seq > %(after_seq)s::bigint",
    "up_to_seq": "s.seq <= %(up_to_seq)s::bigint",
    "status": "r.status = %(status)s::varchar",
    "signal_type": "r.signal_type = %(signal_type)s::varchar",
    "source": "r.source = %(source)s::uuid",
    "by_ledger": _BY_LEDGER,
    "id_from": "r.id >= %(id_from)s::uuid",
    "id_below": "r.id < %(id_below)s::uuid",
}


def _asked(
    viewer: Viewer,
    table: str,
    columns: str,
    where: list[str],
    filters: Filters,
    position: Any,
    backwards: bool,
    limit: int,
    most_bytes: int | None,
) -> tuple[str, dict[str, Any]]:
    condition, params = _conditions(viewer, table, filters, where)
    params |= {"limit": limit, "position": position, "most_bytes": most_bytes}
    if position is not None:
        condition += f" and r.id {'>' if backwards else '<'} %(position)s::uuid"
    order = "asc" if backwards else "desc"
    if filters.task_key is not None:
        columns = columns.replace(TASK_KEY, "%(task_key)s::varchar")
        params["task_key"] = filters.task_key
    if most_bytes is not None:
        columns = f"{columns}, {BYTES} as bytes"
    text = f"select {columns} from {table} r {CLOCK} where {condition} order by r.id {order} limit %(limit)s::int"
    return text if most_bytes is None else ended(text), params


def _conditions(viewer: Viewer, table: str, filters: Filters, where: list[str]) -> tuple[str, dict[str, Any]]:
    params: dict[str, Any] = label_params(viewer) | {"own": viewer.membership}
    params |= {"tags": list(filters.tags), "min_importance": filters.min_importance, "alive_at": filters.alive_at}
    for name, condition in _CONDITIONS.items():
        value = getattr(filters, name)
        if value is not None:
            where.append(condition.format(table=table))
            params[name] = list(value) if name in ("ids", "events") else value
    if filters.exclude_own:
        where.append("r.author_id <> %(own)s::uuid")
    return " and ".join(["r.team_id = %(team)s::int", f"r.{VISIBLE}", *where]), params


def open_private(task: UUID) -> None:
    """Let this transaction read the task's private observations. The caller has checked the claim and records it."""
    with connection.cursor() as cursor:
        cursor.execute("select set_config('hub.opened_task', %s, true)", [str(task)])
