"""Which rows are read, so that the cost of a search is bounded and good old hits are not lost.

Statistics give the cells that have a word, and the number of rows. The rarest words are fetched completely; of the
first that exceeds the budget, the newest rows. Commoner words only count in the ranking, but rows that have two of them
are fetched from older cells, too. Filters are terms like words, so the counts are of what a filter leaves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from memoryhub.memory.search.terms import PLACE, quoted

BUDGET = 1_000  # rows that are fetched for rare words, or for a phrase
NEWEST = 300  # of a word that is too common for that
PAIRS = 300  # rows, at most, that are fetched for having two common words
PAIR_CELLS = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that the viewer may see. `is_within`: whether its rows may be within the requested times."""

    id: int
    docs: int
    length: int
    is_within: bool


@dataclass(slots=True)
class Group:
    """Alternative terms (`names`), the `query` for any of them, and the number of rows of each cell that have one."""

    shown: str
    query: str
    size: int = 1
    names: Sequence[str] = ()
    weight: float = 1.0
    is_part: bool = False
    cells: Mapping[int, int] = field(default_factory=dict)

    @property
    def docs(self) -> int:
        return sum(self.cells.values())


@dataclass(slots=True)
class Needs:
    """What a row must have (all of it: filters, phrases), and what it must not have."""

    required: Sequence[Group]
    excluded: Sequence[Group]
    # Whether the requirements suffice to find a row: a phrase does, a filter does not.
    suffice: bool = False

    def rows(self, cell: Cell) -> float:
        """An estimate of the rows of a cell that meet the needs."""
        if not self.required and not self.excluded:
            return cell.docs
        left = float(min([cell.docs, *(group.cells.get(cell.id, 0) for group in self.required)]))
        for group in self.excluded:
            left *= max(1 - group.cells.get(cell.id, 0) / max(cell.docs, 1), 0.05)
        return left

    def with_query(self, query: str) -> str:
        """The query, with these needs added."""
        parts = [query, *(group.query for group in self.required), *(f"!{group.query}" for group in self.excluded)]
        return " & ".join(f"({part})" for part in parts if part)


def any_of(terms: Sequence[str]) -> str:
    """A query for any of these terms."""
    return f"({' | '.join(quoted(PLACE, term) for term in terms)})"


class Look(NamedTuple):
    """One read of a cell: the query that its rows must match, and how many of the newest are taken (None: all).

    `walks`: scan from the newest row until there are enough, and not the words' index, which returns all of a cell's.
    """

    cell: int
    query: str
    at_most: int | None
    walks: bool = False


def plan(cells: Sequence[Cell], groups: Sequence[Group], needs: Needs) -> list[Look]:
    """The reads of a search; no row is read twice. `cells`: the newest first."""
    left = {cell.id: needs.rows(cell) for cell in cells}
    left = {cell: rows for cell, rows in left.items() if rows > 0}
    if needs.suffice:
        return [Look(cell, needs.with_query(""), BUDGET) for cell in newest(left, left, BUDGET)]
    found = [_Rows.of(group, left) for group in groups]
    found.sort(key=lambda rows: (rows.total, rows.group.query))
    wholly: dict[int, list[str]] = {}
    spent = 0.0
    looks: list[Look] = []
    for number, rows in enumerate(found):
        if spent + rows.total > BUDGET:
            late = newest(rows.cells, rows.cells, NEWEST)
            docs = {cell.id: cell.docs for cell in cells}
            partly = [Look(cell, rows.group.query, NEWEST, _is_dense(rows.cells[cell], docs[cell])) for cell in late]
            partly += _pairs(found[number : number + 2], skip=late, docs=docs)
            looks = [_beside(look, wholly.get(look.cell, ())) for look in partly]
            break
        spent += rows.total
        for cell in rows.cells:
            wholly.setdefault(cell, []).append(rows.group.query)
    looks += [Look(cell, " | ".join(queries), None) for cell, queries in wholly.items()]
    return [look._replace(query=needs.with_query(look.query)) for look in looks]


@dataclass(frozen=True, slots=True)
class _Rows:
    """An estimate of the rows of each cell that have a group and meet the needs."""

    group: Group
    cells: Mapping[int, float]
    total: float

    @classmethod
    def of(cls, group: Group, left: Mapping[int, float]) -> "_Rows":
        cells = {cell: min(group.cells[cell], rows) for cell, rows in left.items() if cell in group.cells}
        return cls(group, cells, sum(cells.values()))


def newest(cells: Iterable[int], rows: Mapping[int, float], budget: float) -> list[int]:
    """The newest of these cells that together have `budget` rows; at least one cell."""
    taken: list[int] = []
    for cell in cells:
        taken.append(cell)
        budget -= rows[cell]
        if budget <= 0:
            break
    return taken


def _is_dense(rows: float, docs: int) -> bool:
    """Whether scanning a cell from its newest row finds NEWEST of so many rows sooner than the index does."""
    return NEWEST * docs < rows * rows


def _beside(look: Look, queries: Sequence[str]) -> Look:
    """The look without the rows that these queries find in its cell."""
    return look._replace(query=f"({look.query}) & !({' | '.join(queries)})") if queries else look


def _pairs(common: Sequence[_Rows], *, skip: Sequence[int], docs: Mapping[int, int]) -> list[Look]:
    """Looks for rows that have both of two common words, in the newest of the remaining cells."""
    if len(common) < 2:
        return []
    one, other = common
    looks: list[Look] = []
    left = float(PAIRS)
    for cell, rows in one.cells.items():
        if cell in skip or cell not in other.cells:
            continue
        looks.append(Look(cell, f"{one.group.query} & {other.group.query}", PAIRS))
        left -= rows * other.cells[cell] / max(docs[cell], 1)
        if left <= 0 or len(looks) >= PAIR_CELLS:
            break
    return looks
