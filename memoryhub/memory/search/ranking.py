"""Search: looks up a query's terms, and finds and ranks rows. Reads the index only; search.results reads the rows.

The score itself, BM25, is computed by the database function search_hits() (migration memory 0007).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import queue, run
from memoryhub.core.models import Sensitivity
from memoryhub.core.secrecy.blind_index import blind
from memoryhub.core.viewers import Viewer
from memoryhub.memory.search import terms
from memoryhub.memory.search.fetch_plan import Cell, Group, Look, Needs, any_of, plan
from memoryhub.memory.search.query import MAX_WORDS, ParsedQuery, Phrase, Word
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.terms import PLACE, blinded, quoted, term_of
from memoryhub.memory.search.tokenizer import TermKind

MODES = ("hybrid", "text", "substring")
PART_WEIGHT = 0.5  # of a word that was found only as a part of others
MAX_FORMS = 30  # words that a part of a word may stand for
MAX_PARTS = 8  # words of a query that are searched for as parts of others
MIN_PART = 3  # letters; one character in scripts without spaces


class SearchFilters(msgspec.Struct):
    """What is searched. `tags_mode`: all or any of the tags; times are of creation (of a fact, of its last change)."""

    types: Sequence[str] = ()
    task: UUID | None = None
    author: UUID | None = None
    exclude_own: bool = False
    tags: Sequence[str] = ()
    tags_mode: str = "all"
    since: datetime | None = None
    until: datetime | None = None
    min_importance: float | None = None


class RankedHit(NamedTuple):
    """A row that was found; `groups`: what it matches of the query."""

    row_id: UUID
    type: str
    score: float
    groups: list[Group]
    meaning: float | None = None  # similarity to the query's, where that was computed


@dataclass(slots=True)
class Index:
    """What the index knows of a query's terms, in the shelves that the viewer may see."""

    viewer: Viewer
    cells: list[Cell]
    counts: dict[str, dict[int, int]]
    stem: dict[str, str | None]
    hashes: dict[str, str] = field(default_factory=dict)

    def terms(self, names: Iterable[str]) -> list[str]:
        """These terms, and the keyed hashes of those that are words, for sealed rows."""
        found = list(names)
        return found + [self.hashes[name] for name in found if name in self.hashes]

    def group(self, shown: str, names: Iterable[str], **more: Any) -> Group:
        """A group of terms with the rows that have any of them."""
        plain = list(names)
        found = self.terms(plain)
        cells: dict[int, int] = {}
        for term in found:
            for cell, docs in self.counts.get(term, {}).items():
                cells[cell] = cells.get(cell, 0) + docs
        return Group(shown, any_of(found), len(found), plain, cells=cells, **more)


def find(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters, *, mode: str, limit: int) -> list[RankedHit]:
    """The best rows, at most `limit`, by BM25 (S. Robertson and H. Zaragoza, 2009); ties: the newest first."""
    index = look_up(viewer, asked, filters)
    groups = _groups(index, asked, mode)
    ranked = list(groups)
    needs = needs_of(index, asked, filters)
    for phrase in asked.phrases:
        ranked += [index.group(phrase.shown, [name]) for name, _ in _steps(index, phrase)]
    ranked = list({group.query: group for group in ranked if group.cells}.values())
    if not ranked or needs is None:
        return []
    docs = sum(cell.docs for cell in index.cells)
    for group in ranked:
        having = min(group.docs, docs)
        group.weight *= math.log(1 + (docs - having + 0.5) / (having + 0.5))
    looks = plan(cells_within(index), groups, needs)
    return _hits(index, looks, ranked, filters, limit) if looks else []


def needs_of(index: Index, asked: ParsedQuery, filters: SearchFilters) -> Needs | None:
    """What a row must have and must not have, by phrases, -words and filters; None when no row can match."""
    phrases = [group for phrase in asked.phrases if (group := _phrase(index, phrase))]
    if not all(group.cells for group in phrases):
        return None
    excluded = [group for phrase in asked.without if (group := _phrase(index, phrase, is_wanted=False))]
    if filters.exclude_own:
        excluded.append(index.group("", [terms.by_author(index.viewer.membership)]))
    required = [*phrases, *(index.group("", names) for names in _narrowing(filters))]
    return Needs(required, excluded, suffice=bool(phrases))


_CELLS = f"""
select c.id, c.docs, c.length, (%(since)s::timestamptz is null or c.last_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or c.first_at < %(until)s::timestamptz)
from search_cell c join search_shelf s on s.id = c.shelf_id
where s.team_id = %(team)s::int and s.{VISIBLE} and (s.audience_id is null or s.audience_id = %(own)s::uuid)
  and c.docs > 0
order by c.id desc
"""
# As arrays, both are index conditions; as a join, the planner may read the whole table. A bare array parameter, whose
# length it estimates, made it plan each time.
_TERMS = f"""
select t.term, t.cells, t.counts from search_term t
where t.term = any (array(select unnest(%(terms)s::text[]))) and t.shelf_id = any (array(select s.id from search_shelf s
    where s.team_id = %(team)s::int and s.{VISIBLE} and (s.audience_id is null or s.audience_id = %(own)s::uuid)))
"""


def look_up(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters) -> Index:
    """Look up what the index knows of the terms of a query and of filters."""
    found = [token for phrase in (*asked.phrases, *asked.without) for token in phrase.run]
    found += [token for word in asked.words for token in word.parts]
    plain = {token.text for token in found if token.kind is TermKind.WORD}
    plain |= {word.text for word in asked.words if word.kind is TermKind.WORD}
    stem = stems(plain)
    names = {stem[text] for text in plain} | {token.text for token in found} | {word.text for word in asked.words}
    index = Index(viewer, [], {}, stem)
    words = sorted(name for name in names if name)
    if viewer.clearance == Sensitivity.CONFIDENTIAL:
        hashes = blind(viewer.team, words)
        index.hashes = {word: blinded(value) for word, value in zip(words, hashes or (), strict=bool(hashes))}
    when = {"since": filters.since, "until": filters.until}
    cells = queue(_CELLS, label_params(viewer) | {"own": viewer.membership} | when)
    narrowing = [name for names in _narrowing(filters) for name in names]
    _count(index, [*index.terms(words), *narrowing, terms.by_author(viewer.membership)])
    index.cells = [Cell(*row) for row in cells.rows()]
    return index


def _count(index: Index, names: list[str]) -> None:
    """Add what the index knows of these terms."""
    viewer = index.viewer
    for term, cells, counts in run(_TERMS, label_params(viewer) | {"own": viewer.membership, "terms": names}):
        index.counts.setdefault(term, {}).update(zip(cells, counts, strict=True))


def _groups(index: Index, asked: ParsedQuery, mode: str) -> list[Group]:
    """The group of each word of the query that the index has; the rarest when there are too many words."""
    groups: list[Group] = []
    missing: list[Word] = []
    for word in asked.words:
        if term_of(word, index.stem) is None:
            continue
        found = [] if mode == "substring" else _whole(index, word)
        groups += found
        if not found:
            missing.append(word)
    if mode != "text":
        groups += _parts(index, missing[:MAX_PARTS], anywhere=mode == "substring")
    once = {group.query: group for group in groups}.values()  # a compound and its parts may both have been typed
    return sorted(once, key=lambda group: (group.docs, group.query))[:MAX_WORDS]


def _whole(index: Index, word: Word) -> list[Group]:
    """The word itself, or its parts where the index does not have it."""
    for tokens in ([word], word.parts):
        names = [name for token in tokens if (name := term_of(token, index.stem))]
        groups = [group for name in names if (group := index.group(word.shown, [name])).cells]
        if groups:
            return groups
    return []


def _parts(index: Index, words: Sequence[Word], *, anywhere: bool) -> list[Group]:
    """For words that the index does not have: those that begin with them, else those that contain them."""
    found: list[tuple[Word, list[str]]] = []
    for word in words:
        if len(word.text) < (1 if word.kind is TermKind.GRAM else MIN_PART):
            continue
        forms = [] if anywhere else _forms(word.text, anywhere=False)
        if not forms and len(word.text) >= MIN_PART:
            forms = _forms(word.text, anywhere=True)
        if forms:
            found.append((word, forms))
    if found:
        _count(index, sorted({form for _, forms in found for form in forms}))
    groups = [index.group(word.shown, forms, weight=PART_WEIGHT, is_part=True) for word, forms in found]
    return [group for group in groups if group.cells]


def _forms(part: str, *, anywhere: bool) -> list[str]:
    asked = "select term from search_parts(%(part)s::text, %(anywhere)s::bool, %(at_most)s::int)"
    return [term for (term,) in run(asked, {"part": part, "anywhere": anywhere, "at_most": MAX_FORMS})]


def _steps(index: Index, phrase: Phrase) -> list[tuple[str, int]]:
    """A phrase's terms with their positions, without stop words."""
    named = [(term_of(token, index.stem), token.position) for token in phrase.run]
    return [(name, position) for name, position in named if name]


def _phrase(index: Index, phrase: Phrase, *, is_wanted: bool = True) -> Group | None:
    """Its words one after the other; None when all are stop words. Sealed rows have no positions: those with all of the
    words match, and are checked when they are shown.
    """
    steps = _steps(index, phrase)
    if not steps:
        return None
    ahead = quoted(PLACE, steps[0][0])
    for (name, position), (_, before) in zip(steps[1:], steps, strict=False):
        ahead += f" <{position - before}> {quoted(PLACE, name)}"
    sealed = [index.hashes[name] for name, _ in steps if name in index.hashes and (is_wanted or len(steps) == 1)]
    query = f"({ahead})" + (f" | ({' & '.join(quoted(PLACE, name) for name in sealed)})" if sealed else "")
    words = [index.group(phrase.shown, [name]).cells for name, _ in steps]
    cells = {cell: min(word[cell] for word in words) for cell in words[0] if all(cell in word for word in words)}
    return Group(phrase.shown, f"({query})", cells=cells)


def _narrowing(filters: SearchFilters) -> list[list[str]]:
    """The terms of each filter; a row must have any one of each."""
    made = [[terms.by_type(kind) for kind in filters.types]]
    made.append([terms.by_task(filters.task)] if filters.task else [])
    made.append([terms.by_author(filters.author)] if filters.author else [])
    tags = [terms.by_tag(tag) for tag in filters.tags]
    made += [[tag] for tag in tags] if filters.tags_mode == "all" else [tags]
    if filters.min_importance is not None:
        made.append([terms.by_importance(tenth) for tenth in range(int(filters.min_importance * 10), 11)])
    return [names for names in made if names]


def cells_within(index: Index) -> list[Cell]:
    """The cells that may have rows of the requested time, the newest first."""
    return [cell for cell in index.cells if cell.is_within]


_HITS = """
select row_id, type, score, found from search_hits(%(cells)s::int[], %(asked)s::text[], %(bounds)s::int[],
    %(ranked)s::text[], %(numbers)s::int[], %(weights)s::float8[], %(sizes)s::int[], %(average)s::float8,
    %(low)s::float8, %(since)s::timestamptz, %(until)s::timestamptz, %(at_most)s::int, %(walks)s::bool[])
"""


def _hits(
    index: Index, looks: Sequence[Look], ranked: list[Group], filters: SearchFilters, limit: int
) -> list[RankedHit]:
    docs = sum(cell.docs for cell in index.cells)
    params = {
        "cells": [look.cell for look in looks],
        "asked": [look.query for look in looks],
        "bounds": [look.at_most for look in looks],
        "walks": [look.walks for look in looks],
        "ranked": [group.query for group in ranked],
        "numbers": list(range(len(ranked))),
        "weights": [group.weight for group in ranked],
        "sizes": [group.size for group in ranked],
        "average": max(sum(cell.length for cell in index.cells) / docs, 1.0),
        "low": filters.min_importance,
        "since": filters.since,
        "until": filters.until,
        "at_most": limit,
    }
    return [
        RankedHit(row_id, kind, score, [ranked[number] for number in found])
        for row_id, kind, score, found in run(_HITS, params)
    ]
