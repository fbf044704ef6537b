"""What the index knows of a query: which cells have which of its terms, and what a row must and must not have.

Reads the index only, under row-level security.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import queue, run
from memoryhub.core.models import Sensitivity
from memoryhub.core.secrecy.blind_index import blind
from memoryhub.core.viewers import Viewer
from memoryhub.memory.search import fetch_plan, terms
from memoryhub.memory.search.fetch_plan import Cell, Group
from memoryhub.memory.search.postings import BYTES, Codes, Numbers, all_of, among, merged, placed
from memoryhub.memory.search.query import ParsedQuery, Phrase, Word
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.terms import blinded, is_stop_word, quoted, term_of
from memoryhub.memory.search.tokenizer import TermKind

AT_ONCE = 49_152  # bytes of a term's postings that come with their number, without a trip of their own


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


@dataclass(slots=True)
class Index:
    """What the index knows of a query's terms, in the shelves that the viewer may see."""

    viewer: Viewer
    cells: list[Cell]
    counts: dict[str, dict[int, int]]
    entries: dict[tuple[str, int], bytes]  # by term and cell, of those that have been read
    stem: Mapping[str, str | None]
    hashes: dict[str, str] = field(default_factory=dict)

    def terms(self, names: Iterable[str]) -> list[str]:
        """These terms, and the keyed hashes of those that are words, for sealed rows."""
        found = list(names)
        return found + [self.hashes[name] for name in found if name in self.hashes]

    def group(self, shown: str, names: Iterable[str], **more: Any) -> Group:
        """A group of terms with the documents that have any of them."""
        plain = list(names)
        found = self.terms(plain)
        cells: dict[int, int] = {}
        for term in found:
            for cell, docs in self.counts.get(term, {}).items():
                cells[cell] = cells.get(cell, 0) + docs
        return Group(shown, found, plain, cells=cells, **more)

    def read(self, wanted: Iterable[tuple[Group, Iterable[int]]]) -> None:
        """Read the postings of groups in cells, in one trip, as far as they have not been read."""
        shelf = {cell.id: cell.shelf for cell in self.cells}
        keys = {
            (term, cell)
            for group, cells in wanted
            for term in group.terms
            for cell in self.counts.get(term, {}).keys() & set(cells)
        } - self.entries.keys()
        if keys:
            names, cells = zip(*sorted(keys), strict=True)
            shelves = [shelf[cell] for cell in cells]
            found = run(_ENTRIES, {"shelves": shelves, "terms": list(names), "cells": list(cells)})
            self.entries.update(((term, cell), entries) for term, cell, entries in found)

    def merged(self, group: Group, cells: Iterable[int]) -> tuple[Codes, Numbers, Numbers]:
        """A group's documents in these cells, which have been read: codes, counts, lengths."""
        entries = {
            cell: some
            for cell in cells
            if (some := [self.entries[term, cell] for term in group.terms if (term, cell) in self.entries])
        }
        return merged(entries)


_CELLS = f"""
select c.id, c.shelf_id, c.docs, c.filled, c.length,
    (%(since)s::timestamptz is null or c.last_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or c.first_at < %(until)s::timestamptz)
from search_cell c join search_shelf s on s.id = c.shelf_id
where s.team_id = %(team)s::int and s.{VISIBLE} and (s.audience_id is null or s.audience_id = %(own)s::uuid)
  and c.docs > 0
order by c.id desc
"""
# As arrays, both are index conditions; as a join, the planner may read the whole table. A bare array parameter, whose
# length it estimates, made it plan each time. Postings of a rare term come at once.
_COUNTS = f"""
select p.term, p.cell_id, octet_length(p.entries) / {BYTES},
       case when sum(octet_length(p.entries)) over (partition by p.term) <= %(at_once)s::int then p.entries end
from search_posting p
where p.term = any (array(select unnest(%(terms)s::text[]))) and p.shelf_id = any (array(select s.id from search_shelf s
    where s.team_id = %(team)s::int and s.{VISIBLE} and (s.audience_id is null or s.audience_id = %(own)s::uuid)))
"""
_ENTRIES = """
select p.term, p.cell_id, p.entries
from unnest(%(shelves)s::int[], %(terms)s::text[], %(cells)s::int[]) w (shelf, term, cell)
cross join lateral (select * from search_posting p
    where p.shelf_id = w.shelf and p.term = w.term and p.cell_id = w.cell offset 0) p
"""


def look_up(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters) -> Index:
    """Look up what the index knows of the terms of a query and of filters."""
    found = [token for phrase in (*asked.phrases, *asked.without) for token in phrase.run]
    found += [token for word in asked.words for token in word.parts]
    plain = {token.text for token in found if token.kind is TermKind.WORD}
    plain |= {word.text for word in asked.words if word.kind is TermKind.WORD}
    stem = stems(plain)
    names = {term_of(token, stem) for token in found} | {term_of(word, stem) for word in asked.words}
    index = Index(viewer, [], {}, {}, stem)
    if viewer.clearance == Sensitivity.CONFIDENTIAL:
        words = [name for name in names if not is_stop_word(name)]
        hashes = blind(viewer.team, words)
        index.hashes = {word: blinded(value) for word, value in zip(words, hashes or (), strict=bool(hashes))}
    when = {"since": filters.since, "until": filters.until}
    cells = queue(_CELLS, label_params(viewer) | {"own": viewer.membership} | when)
    narrowing = [name for some in _narrowing(filters) for name in some]
    own = [terms.by_author(viewer.membership)] if filters.exclude_own else []
    count(index, [*index.terms(sorted(names)), *narrowing, *own])
    index.cells = [Cell(*row) for row in cells.rows()]
    return index


def count(index: Index, names: list[str]) -> None:
    """Add what the index knows of these terms."""
    viewer = index.viewer
    for term, cell, docs, entries in run(
        _COUNTS, label_params(viewer) | {"own": viewer.membership, "terms": names, "at_once": AT_ONCE}
    ):
        index.counts.setdefault(term, {})[cell] = docs
        if entries is not None:
            index.entries[term, cell] = entries


@dataclass(slots=True)
class Needs:
    """What a document must have (any of each), and must not have. `check`: the same, and phrases, as a tsquery.

    `required` suffices where it is small; `check` is for documents that are read, `never` for the other documents of
    their rows. `phrases`, `without`: those that it must and must not have, as tsqueries.
    """

    required: list[Group]
    excluded: list[Group]
    phrases: list[str]
    without: list[str]

    @property
    def check(self) -> str:
        """A tsquery for what small postings do not decide; empty when they decide everything."""
        return self._query([one for one in self.required if _is_large(one)], [o for o in self.excluded if _is_large(o)])

    @property
    def check_all(self) -> str:
        """A tsquery for everything."""
        return self._query(self.required, self.excluded)

    @property
    def never(self) -> str:
        """A tsquery for what no document of a row may have; empty when nothing is excluded."""
        return " | ".join([*(group.query for group in self.excluded), *self.without])

    def _query(self, required: Iterable[Group], excluded: Iterable[Group]) -> str:
        have = [group.query for group in required]
        never = [*(group.query for group in excluded), *self.without]
        return " & ".join([*have, *self.phrases, *(f"!{query}" for query in never)])

    def cells(self, index: Index) -> list[int]:
        """The cells that may have such documents of the requested time, the newest first."""
        found = {cell.id: cell.docs for cell in index.cells if cell.is_within}
        return [
            cell
            for cell, docs in found.items()
            if all(cell in group.cells for group in self.required)
            and all(group.cells.get(cell, 0) < docs for group in self.excluded)
        ]

    @property
    def small(self) -> list[Group]:
        """The required groups whose postings are read."""
        return [group for group in self.required if not _is_large(group)]

    @property
    def narrow(self) -> list[Group]:
        """All groups whose postings are read."""
        return [*self.small, *(group for group in self.excluded if not _is_large(group))]

    def allows(self, index: Index, codes: Codes, cells: Sequence[int]) -> NDArray[np.bool_]:
        """Which documents the postings allow; what `check` decides is left to it."""
        kept = np.ones(len(codes), bool)
        for group in self.small:
            kept &= among(codes, index.merged(group, cells)[0])
        for group in self.excluded:
            if not _is_large(group):
                kept &= ~among(codes, index.merged(group, cells)[0])
        return kept


def _is_large(group: Group) -> bool:
    return group.docs > fetch_plan.BUDGET


def needs_of(index: Index, phrases: Sequence[Phrase], without: Sequence[Phrase], filters: SearchFilters) -> Needs:
    """What a document must have and must not have, by phrases, -words and filters."""
    required = [index.group("", names) for names in _narrowing(filters)]
    required += [
        index.group("", [term_of(word, index.stem)]) for phrase in phrases for word in words_of(index, [phrase])
    ]
    excluded = [index.group("", [term_of(one.run[0], index.stem)]) for one in without if len(one.run) == 1]
    if filters.exclude_own:
        excluded.append(index.group("", [terms.by_author(index.viewer.membership)]))
    steps = [_steps(index, phrase) for phrase in phrases if len(phrase.run) > 1]
    never = [_steps(index, phrase, is_wanted=False) for phrase in without if len(phrase.run) > 1]
    return Needs(required, excluded, steps, never)


def words_of(index: Index, phrases: Sequence[Phrase]) -> list[Word]:
    """The words of phrases; without stop words, unless there are no others."""
    words = [Word(token.text, token.text, token.kind) for phrase in phrases for token in phrase.run]
    return [word for word in words if not is_stop_word(term_of(word, index.stem))] or words


def _steps(index: Index, phrase: Phrase, *, is_wanted: bool = True) -> str:
    """A phrase's words one after the other, as a tsquery. Sealed rows have no positions, and no stop words: those with
    all of the words match, and are checked when they are shown.
    """
    named = [(term_of(token, index.stem), token.position) for token in phrase.run]
    query = quoted(named[0][0])
    for (name, position), (_, before) in zip(named[1:], named, strict=False):
        query += f" <{position - before}> {quoted(name)}"
    sealed = [index.hashes[name] for name, _ in named if name in index.hashes] if is_wanted else []
    return f"(({query}) | ({' & '.join(map(quoted, sealed))}))" if sealed else f"({query})"


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


def allowed(index: Index, needs: Needs, cells: Sequence[int], at_most: int) -> list[tuple[int, int]] | None:
    """The newest documents of these cells that meet what postings decide, as places; None: all of them do."""
    if not needs.narrow:
        return None
    index.read((group, cells) for group in needs.narrow)
    if needs.small:
        codes = index.merged(min(needs.small, key=lambda group: group.docs), cells)[0]
    else:
        filled = {cell.id: cell.filled for cell in index.cells}
        codes = np.concatenate([all_of(cell, filled[cell]) for cell in reversed(cells)] or [np.empty(0, np.int64)])
    codes = codes[needs.allows(index, codes, cells)]
    return list(zip(*placed(codes[::-1][:at_most]), strict=True))
