"""Ranks documents by BM25, each with what its neighbours in its task lend it. Reads the index only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memoryhub.core import work
from memoryhub.core.db.statements import run
from memoryhub.memory.search.fetch_plan import Group, pairs, plan
from memoryhub.memory.search.lookup import Index, Needs, SearchFilters
from memoryhub.memory.search.postings import Codes, among, as_array, best, placed, places, union

# BM25 (S. Robertson and H. Zaragoza, 2009), with the constants of Anserini, which suit short texts.
K1, B = 0.9, 0.4
BEFORE, AFTER = 0.5, 0.3  # of a word's part in the row before, and after, in the same task
# Documents that are looked at, the best first: by one word, whose order neighbours hardly change; by several; at most.
LOOKED_AT_ONE, LOOKED_AT, MOST_LOOKED_AT = 96, 256, 4_096


class RankedHit(NamedTuple):
    """A row that was found; `groups`: what it matches of the query. `relaxed`: found by a phrase's words alone."""

    row_id: UUID
    type: str
    score: float
    groups: list[Group]
    meaning: float | None = None  # similarity to the query's, where that was computed
    relaxed: bool = False


@dataclass(slots=True)
class _Scored:
    """Documents with any of a query's words, the best first, by what was read of those."""

    codes: Codes
    lengths: NDArray[np.float64]
    parts: NDArray[np.float64]  # of each group, by document
    unread: list[int]  # groups of which only the newest cells were read
    newest: frozenset[int]


def ranked(index: Index, groups: Sequence[Group], needs: Needs, filters: SearchFilters, limit: int) -> list[RankedHit]:
    """The best rows that meet the needs, by the groups."""
    cells = needs.cells(index)
    groups = [group for group in groups if group.within(cells)]
    if not groups:
        return []
    scored = _score(index, groups, needs, cells)
    hits: list[RankedHit] = []
    for most in (max(LOOKED_AT_ONE if len(groups) == 1 else LOOKED_AT, 2 * limit), MOST_LOOKED_AT):
        work.check()
        hits = _look_at(index, groups, needs, filters, scored, most, limit)
        if len(hits) >= limit or len(scored.codes) <= most:
            break
    return hits


def _score(index: Index, groups: Sequence[Group], needs: Needs, cells: Sequence[int]) -> _Scored:
    """Score the documents of cells by the postings of the groups."""
    partly, newest = plan(groups, cells)
    paired, older = pairs(partly, [cell for cell in cells if cell not in newest])
    spans = [[*newest, *older] if group in paired else newest if group in partly else cells for group in groups]
    index.read([*zip(groups, spans, strict=True), *((group, cells) for group in needs.narrow)])
    merged = [index.merged(group, span) for group, span in zip(groups, spans, strict=True)]
    codes = [
        index.merged(group, newest)[0] if group in paired else some
        for group, (some, _, _) in zip(groups, merged, strict=True)
    ]
    if older:
        one, other = (index.merged(group, older)[0] for group in paired)
        codes.append(one[among(one, other)])
    if partly and needs.small:
        codes.append(index.merged(min(needs.small, key=lambda group: group.docs), cells)[0])
    found = union(codes)
    found = found[needs.allows(index, found, cells)]
    average = max(sum(cell.length for cell in index.cells) / sum(cell.docs for cell in index.cells), 1.0)
    parts, lengths = np.zeros((len(groups), len(found))), np.ones(len(found))
    for number, (group, (some, counts, long)) in enumerate(zip(groups, merged, strict=True)):
        at, is_found = places(some, found)
        at = at[is_found]
        lengths[at] = long[is_found] / average
        parts[number, at] = _bm25(group.weight, counts[is_found], lengths[at])
    order = best(found, parts.sum(axis=0), MOST_LOOKED_AT)
    unread = [number for number, group in enumerate(groups) if group in partly]
    return _Scored(found[order], lengths[order], parts[:, order].T, unread, frozenset(newest))


def _bm25(weight: float, counts: Any, length: Any) -> Any:
    return weight * (K1 + 1) / (1 + K1 * (1 - B + B * length) / counts)


# The documents as they are now, by `place`; `row` numbers their rows in the order of their ids; `before`: the row that
# stands before it in its task among these, unless another that the viewer may see stands between. By shelf, so that no
# hidden row is read. `late`: 0, and how often they have each group that was not read: with all weights 1, ts_rank() is
# the sum of 1/j² over a word's occurrences (by 1.6449, the sum of all). One row of arrays, which costs less to load.
# Arrays come by way of a subquery: the planner would estimate a bare one's length, and plan each time.
_DOCUMENTS = """
with doc as materialized (
    select f.*, dense_rank() over (order by f.row_id)::int as row from (
        select a.place, coalesce(d.part_of, d.row_id) as row_id, d.type, d.task_id,
               0::float8 || array(select ts_rank('{{1,1,1,1}}', d.words, l.query::tsquery) * l.size
                     from unnest((select %(late)s::text[]), (select %(sizes)s::int[]))
                          with ordinality l (query, size, n) order by l.n) as late
        from unnest((select %(cells)s::int[]), (select %(numbers)s::int[])) with ordinality a (cell, number, place)
        cross join lateral (select * from search_doc d where d.cell_id = a.cell and d.number = a.number offset 0) d
        where (d.expires_at is null or d.expires_at > statement_timestamp()){conditions}) f
),
following as materialized (
    select r.row, r.before from (
        select d.row, d.row_id, d.task_id, lag(d.row) over of_task as before, lag(d.row_id) over of_task as before_id
        from (select distinct row, row_id, task_id from doc where task_id is not null) d
        window of_task as (partition by d.task_id order by d.row)) r
    where r.before is not null and not exists (
        select from unnest((select %(shelves)s::int[])) s (id) cross join lateral (
            select from search_doc d
            where d.task_id = r.task_id and d.shelf_id = s.id and d.row_id > r.before_id and d.row_id < r.row_id
              and d.part_of is null and (d.expires_at is null or d.expires_at > statement_timestamp())
            limit 1) between_them)
)
select array_agg(d.place::int - 1), array_agg(d.row - 1), array_agg(coalesce(f.before - 1, -1)),
       string_agg(d.row_id::text, ' '), string_agg(d.type, ' '),
       array_agg(d.late)
from doc d left join following f using (row)
"""
# Added where they are asked for, so that the plan of the others can be kept.
_LOW = " and d.importance >= %(low)s::float8"
_SINCE, _UNTIL = " and d.created_at >= %(since)s::timestamptz", " and d.created_at < %(until)s::timestamptz"
_CHECK = " and d.words @@ (%(check)s::text)::tsquery"
_NEVER = """
  and not exists (
    select from search_doc p
    where p.part_of = coalesce(d.part_of, d.row_id) and p.words @@ (%(never)s::text)::tsquery)
  and (d.part_of is null or not exists (
    select from search_doc p where p.row_id = d.part_of and p.words @@ (%(never)s::text)::tsquery))"""


def _look_at(
    index: Index,
    groups: Sequence[Group],
    needs: Needs,
    filters: SearchFilters,
    scored: _Scored,
    most: int,
    limit: int,
) -> list[RankedHit]:
    """The best of so many documents, as they are now.

    A row's word counts as the best of its documents' parts, and of what its neighbours lend it.
    """
    cells, numbers = placed(scored.codes[:most])
    late = [groups[number] for number in scored.unread]
    params: dict[str, Any] = {
        "cells": as_array(cells),
        "numbers": as_array(numbers),
        "late": [group.query for group in late],
        "sizes": [len(group.terms) for group in late],
        "shelves": sorted({cell.shelf for cell in index.cells}),
    }
    conditions = ""
    for condition, name, value in (
        (_LOW, "low", filters.min_importance),
        (_SINCE, "since", filters.since),
        (_UNTIL, "until", filters.until),
        (_CHECK, "check", needs.check or None),
        (_NEVER, "never", needs.never or None),
    ):
        if value is not None:
            conditions, params[name] = conditions + condition, value
    ((documents, rows, befores, ids, kinds, ranks),) = run(_DOCUMENTS.format(conditions=conditions), params)
    if not documents:
        return []
    parts = scored.parts[documents]
    for at, document in enumerate(documents) if late else ():
        if cells[document] not in scored.newest:
            for number, rank in zip(scored.unread, ranks[at][1:], strict=True):
                if rank > 0:
                    parts[at, number] = _bm25(groups[number].weight, _count_of(rank), scored.lengths[document])
    own = np.zeros((max(rows) + 1, len(groups)))
    np.maximum.at(own, rows, parts)
    pairs = {(before, row) for before, row in zip(befores, rows, strict=True) if before >= 0}
    lent = own.copy()
    if pairs:
        before, after = (np.array(side) for side in zip(*pairs, strict=True))
        lent[after] = np.maximum(lent[after], BEFORE * own[before])
        lent[before] = np.maximum(lent[before], AFTER * own[after])
    scores = lent.sum(axis=1).round(6)
    order = [row for row in np.lexsort((np.arange(len(scores)), scores))[::-1][:limit].tolist() if own[row].any()]
    named = dict(zip(rows, zip(ids.split(), kinds.split(), strict=True), strict=True))
    return [
        RankedHit(
            UUID(named[row][0]),
            named[row][1],
            float(scores[row]),
            [groups[n] for n in np.flatnonzero(own[row]).tolist()],
        )
        for row in order
    ]


def _count_of(rank: float) -> float:
    """The number of occurrences of which ts_rank() made this."""
    summed = rank * math.pi**2 / 6
    if summed < 1.6:
        return max(round(1 / (math.pi**2 / 6 - summed) - 0.5), 1)
    return max(math.ceil(summed), 20 if summed < 1.645 else 1)
