"""Reading facts: by key (which may have several rows, one per label), in bulk, as of a moment, and their history.

A fact is durable before it is returned: a version that a crash takes back, and that another writer then makes, would
have the ETag of the one that was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from memoryhub.core import work
from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db import durability, statements
from memoryhub.core.db.fitting import BYTES, Fitted, ended, fit
from memoryhub.core.errors import Conflict, NotFound
from memoryhub.core.transactions import Question, current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.facts import Fact, FactVersion
from memoryhub.memory.schemas.rows import Stored, copied, select
from memoryhub.memory.selectors.memories import narrowed, only
from memoryhub.memory.selectors.tasks import dominating_row

MOST_IN_A_PACKAGE = 200


class StoredFact(Stored[Fact]):
    """One version of a fact as it was read; `change`: the event that made it.

    `text_id`: the id of the row that was read: the fact's, or for the history the version's. `over`: past its time to
    live. `fresh`: so new that it may not be durable.
    """

    __slots__ = ("deleted", "fresh", "over", "text_id")

    def __init__(self, text_id: UUID, over: bool, fresh: bool, deleted: bool, *columns: Any) -> None:
        super().__init__(Fact, *columns)
        self.text_id, self.over, self.fresh, self.deleted = text_id, over, fresh, deleted
        # The newest version's text is in the fact's row; an old one's is in the version's own.
        self.text_version = self.answer.version if text_id == self.id else 1

    @property
    def text_of(self) -> tuple[str, UUID]:
        return ("fact" if self.text_id == self.id else "fact_version"), self.text_id

    @property
    def is_live(self) -> bool:
        """Whether the fact exists for those who read it now."""
        return not (self.deleted or self.over)

    def show_version(self) -> FactVersion:
        """As the history shows it."""
        return copied(self.show(), FactVersion, deleted=self.deleted)


def _columns(fact: str, key: str, changed_at: str) -> str:
    over = "coalesce(r.expires_at <= statement_timestamp(), false)"
    fresh = f"{changed_at} > statement_timestamp() - interval '1 minute'"
    return f"r.id, {over}, {fresh}, r.deleted, " + select(Fact, id=fact, key=key, created_at=changed_at)


_FACT_COLUMNS, _FROM_FACT = _columns("r.id", "r.key", "r.changed_at"), "from fact r"
_FACT = f"select {_FACT_COLUMNS} {_FROM_FACT}"
_VERSION_COLUMNS = _columns("f.id", "f.key", "r.created_at")
_FROM_VERSION = "from fact f join fact_version r on r.fact_id = f.id"
_VERSION = f"select {_VERSION_COLUMNS} {_FROM_VERSION}"
_MINE = f"team_id = %(team)s::int and {{0}}.{VISIBLE}"
_FACT_IS_MINE = f"r.{_MINE.format('r')}"
_VERSION_IS_MINE = f"f.{_MINE.format('f')}"
_OF_FACT = f"f.id = %(fact)s::uuid and f.{VISIBLE}"

# Versions are numbered in commit order, so the newest one then is found by binary search: some twenty lookups where a
# fact has a million versions. 0: there was none yet. A scalar sub-query, since PostgreSQL may answer EXISTS from a hash
# of all of the fact's versions, where facts had few when the table was last analysed.
_NEWEST_THEN = f"""newest as materialized (select f.id, f.key, (with recursive span(low, high) as (
    select 0, f.version
    union all
    select case when there then middle else low end, case when there then high else middle - 1 end
    from (select low, high, (low + high + 1) / 2 as middle from span where low < high) s cross join lateral (
        select coalesce((select true from fact_version v
                         where v.fact_id = f.id and v.version = middle and {{there}}), false) as there) t
) select low from span where low = high) as version from {{facts}} where {_VERSION_IS_MINE} {{those}})"""
_BY_SEQ = "(select s.seq from event_seq s where s.event_id = v.event_id) <= %(seq)s::bigint"
_BY_TIME = "v.created_at <= %(time)s::timestamptz"
# `offset 0`, so that the planner looks up each of them, instead of reading all versions of all facts for a join.
_FROM_THEN = """from newest f cross join lateral (
    select * from fact_version v where v.fact_id = f.id and v.version = f.version offset 0) r
where not r.deleted and (%(time)s::timestamptz is null or coalesce(r.expires_at > %(time)s::timestamptz, true))"""
_THOSE_THEN = f"select {_VERSION_COLUMNS} {_FROM_THEN}"

# One lookup per fact, however many versions it has: a loose index scan.
_EVER_OF_TASK = f"""of_task(fact) as (
    (select v.fact_id from fact_version v
     where v.task_id = %(task)s::uuid and v.{_MINE.format("v")} order by v.fact_id limit 1)
    union all
    select (select v.fact_id from fact_version v where v.task_id = %(task)s::uuid and v.{_MINE.format("v")}
            and v.fact_id > o.fact order by v.fact_id limit 1) from of_task o where o.fact is not null)"""
_NEWEST_OF_TASK = _NEWEST_THEN.format(there=_BY_SEQ, facts="of_task o join fact f on f.id = o.fact", those="")
_WITH_TASK = f"with recursive {_EVER_OF_TASK}, {_NEWEST_OF_TASK}"
_FROM_TASK = f"{_FROM_THEN} and r.task_id = %(task)s::uuid order by f.id limit %(limit)s::int"


class FactFilters(msgspec.Struct, frozen=True):
    """Filters of a list: a prefix of the key, the task, an instant at which the fact is valid."""

    prefix: str | None = None
    task: UUID | None = None
    valid_at: datetime | None = None


_CONDITIONS = {
    # No key has a character beyond `~`. A range, since `_` is a wildcard in a pattern.
    "prefix": "r.key >= %(prefix)s::varchar and r.key < %(prefix)s::varchar || chr(127)",
    "task": "r.task_id = %(task)s::uuid",
    "valid_at": "coalesce(r.valid_from <= %(valid_at)s::timestamptz, true)"
    " and coalesce(r.valid_to > %(valid_at)s::timestamptz, true)",
}


def by_key(viewer: Viewer, key: str, label: str | None = None) -> StoredFact:
    """The visible fact of this key: the one whose label dominates those of all its visible twins.

    Raises NotFound, also for one that is deleted or past its time to live; Conflict (ambiguous_key) with the visible
    labels when no twin dominates; `label` chooses.
    """
    return _dominating_fact(viewer, [row for row in _of_key(viewer, key) if row.is_live], label)


def with_history(viewer: Viewer, key: str, label: str | None = None) -> StoredFact:
    """As by_key(), but one that is deleted or past its time to live is returned when there is no other."""
    rows = _of_key(viewer, key)
    try:
        return dominating_row([row for row in rows if row.is_live], label)
    except NotFound:
        return dominating_row(rows, label)


@dataclass(frozen=True, slots=True)
class Many:
    """The result of many(): facts by key, the labels of ambiguous keys, and the keys that did not fit."""

    found: dict[str, StoredFact]
    ambiguous: dict[str, list[str]]
    unread: list[str]


_IN_ORDER = """join unnest(%(keys)s::varchar[]) with ordinality k (key, place) on k.key = r.key"""


def many(viewer: Viewer, keys: Sequence[str], *, most_bytes: int) -> Many:
    """The facts of these keys, in this order, up to about `most_bytes`, in one query. Absent keys are left out."""
    rest = f"{_FROM_FACT} {_IN_ORDER} where {_FACT_IS_MINE} order by k.place, r.id"
    rows = _fitted(_FACT_COLUMNS, rest, label_params(viewer) | {"keys": list(keys)}, most_bytes)
    unread: list[str] = []
    if rows.at_most is not None:
        # The key of the first row that does not fit is left unread as a whole, with all its twins.
        unread = list(keys[keys.index(rows[rows.at_most].answer.key) :]) if len(rows) > rows.at_most else []
        if unread == list(keys):
            rows, unread = Fitted(_of_key(viewer, keys[0])), unread[1:]
    twins: dict[str, list[StoredFact]] = {}
    for row in rows:
        if row.is_live and row.answer.key not in unread:
            twins.setdefault(row.answer.key, []).append(row)
    found: dict[str, StoredFact] = {}
    ambiguous: dict[str, list[str]] = {}
    for key, those in twins.items():
        work.check()
        try:
            found[key] = _dominating_fact(viewer, those, None)
        except Conflict as conflict:
            ambiguous[key] = conflict.extra["labels"]
    return Many(found, ambiguous, unread)


def page(
    viewer: Viewer,
    filters: FactFilters,
    *,
    position: tuple[str, UUID] | None,
    backwards: bool,
    limit: int,
    most_bytes: int,
) -> Fitted[StoredFact]:
    """Up to `limit` facts by key, then id, after `position` (a key and an id); `backwards`: before it, nearest first.

    Reads up to about `most_bytes`.
    """
    conditions, given = narrowed(filters, _CONDITIONS)
    is_live = "not r.deleted and (r.expires_at is null or r.expires_at > statement_timestamp())"
    where = [_FACT_IS_MINE, is_live, *conditions]
    params = label_params(viewer) | {"limit": limit} | given
    if position is not None:
        where.append(f"(r.key, r.id) {'<' if backwards else '>'} (%(key)s::varchar, %(id)s::uuid)")
        params["key"], params["id"] = position
    order = "desc" if backwards else "asc"
    rest = f"{_FROM_FACT} where {' and '.join(where)} order by r.key {order}, r.id {order} limit %(limit)s::int"
    return _fitted(_FACT_COLUMNS, rest, params, most_bytes)


def as_of(
    viewer: Viewer, key: str, *, seq: int | None = None, time: datetime | None = None, label: str | None = None
) -> StoredFact:
    """The fact of this key as of `seq`, or as of `time` (one of them); raises as by_key().

    A future moment is now. The ledger has no times to live: by `seq` a fact that was past its own is still found.
    """
    there = _BY_TIME if seq is None else _BY_SEQ
    newest = _NEWEST_THEN.format(there=there, facts="fact f", those="and f.key = %(key)s::varchar")
    params = label_params(viewer) | {"key": key, "seq": seq, "time": time}
    return _dominating_fact(viewer, _twins(f"with {newest} {_THOSE_THEN}", params), label)


def of_task(
    viewer: Viewer, task: UUID, *, seq: int, time: datetime, most_bytes: int
) -> tuple[list[StoredFact], list[str]]:
    """The task's facts as of `seq`, which was at `time`; at most 200, the oldest first.

    As many as fit into `most_bytes`, and the keys of the others.
    """
    params = label_params(viewer) | {"task": task, "seq": seq, "time": time, "limit": MOST_IN_A_PACKAGE}
    rows = _fitted(_VERSION_COLUMNS, _FROM_TASK, params, most_bytes, _WITH_TASK)
    if rows.at_most is None:
        return rows, []
    keys = [key for (key,) in statements.run(f"{_WITH_TASK} select f.key {_FROM_TASK}", params)]
    return rows[: rows.at_most], keys[rows.at_most :]


_THIS_VERSION = f"{_VERSION} where {_OF_FACT} and r.version = %(version)s::int"


def live(viewer: Viewer, ids: Sequence[UUID], *, most_bytes: int) -> Fitted[StoredFact]:
    """Those of these facts that the viewer may see and that are neither deleted nor past their time to live.

    Reads up to about `most_bytes`.
    """
    rest = f"{_FROM_FACT} where {_FACT_IS_MINE} and r.id = any (%(ids)s::uuid[]) order by r.id"
    rows = _fitted(_FACT_COLUMNS, rest, label_params(viewer) | {"ids": list(ids)}, most_bytes)
    alive = Fitted(row for row in rows if row.is_live)
    alive.at_most = rows.at_most
    return alive


def version(viewer: Viewer, fact: UUID | str, number: int) -> Question[StoredFact]:
    """One version of a visible fact, deleted or not, for its writer: it is durable by then. Raises NotFound."""
    params = label_params(viewer) | {"fact": fact, "version": number}
    return Question(_THIS_VERSION, params, lambda found: StoredFact(*only(found)))


def versions(viewer: Viewer, fact: UUID, numbers: Sequence[int]) -> dict[int, StoredFact]:
    """These versions of a visible fact, by number, deleted or not."""
    params = label_params(viewer) | {"fact": fact, "versions": list(numbers)}
    rows = _rows(
        f"{_VERSION} where {_OF_FACT} and r.version = any (%(versions)s::int[])",
        params,
    )
    return {row.answer.version: row for row in rows}


def history(
    viewer: Viewer, fact: UUID, *, position: int | None, backwards: bool, limit: int, most_bytes: int
) -> Fitted[StoredFact]:
    """Up to `limit` versions of a visible fact below `position`, newest first; `backwards`: above it, oldest first.

    Reads up to about `most_bytes`.
    """
    where = _OF_FACT
    if position is not None:
        where += f" and r.version {'>' if backwards else '<'} %(position)s::int"
    params = label_params(viewer) | {"fact": fact, "position": position, "limit": limit}
    order = "asc" if backwards else "desc"
    rest = f"{_FROM_VERSION} where {where} order by r.version {order} limit %(limit)s::int"
    return _fitted(_VERSION_COLUMNS, rest, params, most_bytes)


def _of_key(viewer: Viewer, key: str) -> list[StoredFact]:
    """All visible rows of this key, live or not, as _twins()."""
    return _twins(f"{_FACT} where {_FACT_IS_MINE} and r.key = %(key)s::varchar", label_params(viewer) | {"key": key})


_FEW_TWINS = 8  # twins, at most, are read with their texts


def _twins(text: str, params: dict[str, Any]) -> list[StoredFact]:
    """The rows of one key; without their texts, which can be large, where there are many."""
    rows = _rows(f"{text} limit {_FEW_TWINS + 1}", params)
    return rows if len(rows) <= _FEW_TWINS else _rows(text.replace("r.body, r.sealed", "null, null"), params)


def _rows(text: str, params: dict[str, Any]) -> list[StoredFact]:
    """Run the statement; what may not be durable yet is waited for before the answer is sent."""
    rows = [StoredFact(*row) for row in statements.run(text, params)]
    _be_durable(rows)
    return rows


def _fitted(columns: str, rest: str, params: dict[str, Any], most_bytes: int, before: str = "") -> Fitted[StoredFact]:
    """The same, up to about `most_bytes`; `before`: a WITH clause."""
    text = ended(f"{before} select {columns}, {BYTES} as bytes {rest}")
    rows = fit(statements.run(text, params | {"most_bytes": most_bytes}), most_bytes, StoredFact)
    _be_durable(rows)
    return rows


def _be_durable(rows: Sequence[StoredFact]) -> None:
    viewer = current().viewer
    # What this transaction has made itself has no `seq` yet; its COMMIT waits for it.
    young = [row for row in rows if row.fresh and row.seq is not None]
    fresh = next((row for row in young if not durability.has(viewer.team, row.seq)), None)
    if fresh is not None:
        current().depends_on_event = fresh.change


def _dominating_fact(viewer: Viewer, rows: Sequence[StoredFact], label: str | None) -> StoredFact:
    """The dominating one of the rows of _twins(), with its text."""
    row = dominating_row(rows, label)
    if row.body is not None or row.sealed is not None:
        return row
    table = f"{_FACT} where {_FACT_IS_MINE}" if row.text_id == row.id else f"{_VERSION} where {_VERSION_IS_MINE}"
    return StoredFact(
        *only(statements.run(f"{table} and r.id = %(id)s::uuid", label_params(viewer) | {"id": row.text_id}))
    )
