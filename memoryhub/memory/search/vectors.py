"""Search by meaning: the rows whose vectors are nearest to the query's; and the fusion of them and the hits by words.

The distance is exact, for about the newest NEAREST rows of those that the viewer may see and that pass the filters. An
approximate index of vectors would search hidden rows as well, which would then displace visible ones.
"""

from collections.abc import Sequence

from django.conf import settings

from memoryhub.core.db.statements import run
from memoryhub.core.models import Sensitivity
from memoryhub.core.viewers import Viewer
from memoryhub.memory.search.fetch_plan import newest
from memoryhub.memory.search.query import ParsedQuery
from memoryhub.memory.search.ranking import RankedHit, SearchFilters, cells_within, look_up, needs_of

NEAREST = 20_000  # rows
FUSION = 60  # k of reciprocal rank fusion, as in its paper

_OPEN = f"""
select c.id from search_cell c join search_shelf s on s.id = c.shelf_id join label l on l.id = s.label_id
where s.team_id = %(team)s::int and s.audience_id is null and l.sensitivity < {Sensitivity.CONFIDENTIAL.value}
"""
_NEAR = """
select row_id, type, similarity from search_near(%(model)s::text, %(meaning)s::vector, %(cells)s::int[],
    %(asked)s::text, %(by_words)s::bool, %(bound)s::int, %(low)s::float8, %(since)s::timestamptz,
    %(until)s::timestamptz, %(at_most)s::int)
"""


def near(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters, meaning: str, *, limit: int) -> list[RankedHit]:
    """The rows nearest to `meaning`, a vector in pgvector's notation, at most `limit`; ties: the newest first.

    A hit's score is its cosine similarity, from 0 to 1. Phrases and -words apply as in a search by words.
    """
    index = look_up(viewer, asked, filters)
    needs = needs_of(index, asked, filters)
    if needs is None:
        return []
    sent = {cell for (cell,) in run(_OPEN, {"team": viewer.team})}
    left = {cell.id: needs.rows(cell) for cell in cells_within(index) if cell.id in sent}
    left = {cell: rows for cell, rows in left.items() if rows > 0}
    cells = newest(left, left, NEAREST)
    params = {
        "model": settings.EMBEDDINGS_MODEL,
        "meaning": meaning,
        "cells": cells,
        "asked": needs.with_query(""),
        "by_words": bool(needs.required),
        "bound": NEAREST,
        "low": filters.min_importance,
        "since": filters.since,
        "until": filters.until,
        "at_most": limit,
    }
    found = run(_NEAR, params) if cells else []
    return [RankedHit(row_id, kind, similarity, [], similarity) for row_id, kind, similarity in found]


def fuse(by_words: Sequence[RankedHit], by_meaning: Sequence[RankedHit]) -> list[RankedHit]:
    """Both lists as one, by reciprocal rank fusion: a hit's score is the sum of 1 / (60 + its rank in each).

    G. Cormack, C. Clarke and S. Büttcher, Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods, SIGIR 2009. Ties: the newest first.
    """
    found = {hit.row_id: hit for hit in by_meaning}
    for hit in by_words:
        known = found.get(hit.row_id)
        found[hit.row_id] = hit._replace(meaning=known.meaning if known else None)
    scores = dict.fromkeys(found, 0.0)
    for hits in (by_words, by_meaning):
        for rank, hit in enumerate(hits, start=1):
            scores[hit.row_id] += 1 / (FUSION + rank)
    fused = [hit._replace(score=round(scores[row_id], 6)) for row_id, hit in found.items()]
    return sorted(fused, key=lambda hit: (hit.score, hit.row_id), reverse=True)
