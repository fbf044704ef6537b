"""Search by meaning: the rows whose vectors are nearest to the query's; and the fusion of them and the hits by words.

The distance is exact, for about the newest NEAREST rows of those that the viewer may see and that pass the filters. An
approximate index of vectors would search hidden rows as well, which would then displace visible ones.
"""

from collections.abc import Mapping, Sequence

from django.conf import settings

from memoryhub.core.db.statements import run
from memoryhub.core.models import Sensitivity
from memoryhub.core.viewers import Viewer
from memoryhub.memory.search.lookup import SearchFilters, allowed, look_up, needs_of
from memoryhub.memory.search.query import ParsedQuery
from memoryhub.memory.search.scoring import RankedHit

NEAREST = 20_000  # rows
FUSION = 60  # k of reciprocal rank fusion, as in its paper

_OPEN = f"""
select c.id from search_cell c join search_shelf s on s.id = c.shelf_id join label l on l.id = s.label_id
where s.team_id = %(team)s::int and s.audience_id is null and l.sensitivity < {Sensitivity.CONFIDENTIAL.value}
"""
# The newest documents of cells that have a vector, or these documents; nearest first. Each `offset 0` keeps the planner
# from reading all rows by their ids, for the sake of the order.
_NEAR = """
select row_id, type, round(near::numeric, 6)::float8 from (
    select d.row_id, d.type, case when vector_dims(v.vector) = vector_dims(%(meaning)s::vector)
                                  then 1 - (v.vector <=> %(meaning)s::vector) end as near
    from {documents} v
    cross join lateral (select * from search_doc d where d.row_id = v.row_id offset 0) d
    where v.model = %(model)s::text
      and (d.expires_at is null or d.expires_at > statement_timestamp())
      and (%(low)s::float8 is null or d.importance >= %(low)s::float8)
      and (%(since)s::timestamptz is null or d.created_at >= %(since)s::timestamptz)
      and (%(until)s::timestamptz is null or d.created_at < %(until)s::timestamptz)
      and (%(check)s::text = '' or d.words @@ (%(check)s::text)::tsquery)
      and (%(never)s::text = '' or not exists (
        select from search_doc p where p.part_of = d.row_id and p.words @@ (%(never)s::text)::tsquery))
    offset 0) found
where near > 0 order by near desc, row_id desc limit %(at_most)s::int
"""
_IN_CELLS = _NEAR.format(
    documents="""(
        select v.row_id from unnest(%(cells)s::int[]) c (id) cross join lateral (
            select v.row_id from search_vector v where v.cell_id = c.id offset 0) v
        order by v.row_id desc limit %(bound)s::int) n
    cross join lateral (
        select v.row_id, v.model, v.vector from search_vector v where v.row_id = n.row_id offset 0)"""
)
_AMONG = _NEAR.format(
    documents="""unnest(%(cells)s::int[], %(numbers)s::int[]) a (cell, number) cross join lateral (
        select v.row_id, v.model, v.vector from search_doc d join search_vector v on v.row_id = d.row_id
        where d.cell_id = a.cell and d.number = a.number offset 0)"""
)


def near(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters, meaning: str, *, limit: int) -> list[RankedHit]:
    """The rows nearest to `meaning`, a vector in pgvector's notation, at most `limit`; ties: the newest first.

    A hit's score is its cosine similarity, from 0 to 1. Phrases and -words apply as in a search by words.
    """
    index = look_up(viewer, asked, filters)
    needs = needs_of(index, asked.phrases, asked.without, filters)
    sent = {cell for (cell,) in run(_OPEN, {"team": viewer.team})}
    cells = [cell for cell in needs.cells(index) if cell in sent]
    places = allowed(index, needs, cells, NEAREST)
    docs = {cell.id: cell.docs for cell in index.cells}
    params = {
        "model": settings.EMBEDDINGS_MODEL,
        "meaning": meaning,
        "check": needs.check_all if places is None else needs.check,
        "never": needs.never,
        "low": filters.min_importance,
        "since": filters.since,
        "until": filters.until,
        "at_most": limit,
    }
    if places is None:
        found = run(_IN_CELLS, params | {"cells": _newest(cells, docs), "bound": NEAREST})
    else:
        found = run(_AMONG, params | {"cells": [cell for cell, _ in places], "numbers": [at for _, at in places]})
    return [RankedHit(row_id, kind, similarity, [], similarity) for row_id, kind, similarity in found]


def _newest(cells: Sequence[int], docs: Mapping[int, int]) -> list[int]:
    """The newest of these cells that together have NEAREST documents."""
    taken: list[int] = []
    left = NEAREST
    for cell in cells:
        if left <= 0:
            break
        taken.append(cell)
        left -= docs[cell]
    return taken


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
