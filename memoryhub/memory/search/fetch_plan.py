"""Which rows are looked at, so that the cost of a search is bounded and old good hits are not lost.

Statistics tell in which cells a word is, and in how many rows. The rarest words are fetched wholly; of the first that
would be too much, the newest rows. The commoner ones only count in the ranking, but rows that have two of them are
fetched from older cells, too. SearchFilters are terms like words, so what a filter leaves is what is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from memoryhub.memory.search.terms import PLACE, quoted

BUDGET = 1_000  # rows that are fetched for having rare words, or a phrase
NEWEST = 300  # of a word that is too common for that
PAIRS = 300  # of them, at most so many for having two common words
PAIR_CELLS = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that the viewer may see. `is_within`: whether the times that are asked for may be those of its rows."""

    id: int
    docs: int
    length: int
    is_within: bool


@dataclass(slots=True)
class Group:
    """Terms of which any one will do (`names`), as a query's text, with the rows of each cell that have one."""

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
    """What a row must have, all of it (filters, phrases), and what it must not."""

    required: Sequence[Group]
    excluded: Sequence[Group]
    # Whether what is required is enough to be found by: a phrase is, a filter is not.
    suffice: bool = False

    def rows(self, cell: Cell) -> float:
        """About how many rows of a cell there are left."""
        if not self.required and not self.excluded:
            return cell.docs
        left = float(min([cell.docs, *(group.cells.get(cell.id, 0) for group in self.required)]))
        for group in self.excluded:
            left *= max(1 - group.cells.get(cell.id, 0) / max(cell.docs, 1), 0.05)
        return left

    def with_query(self, query: str) -> str:
        """A query that has these needs as well."""
        parts = [query, *(group.query for group in self.required), *(f"!{group.query}" for group in self.excluded)]
        return " & ".join(f"({part})" for part in parts if part)


def any_of(terms: Sequence[str]) -> str:
    """A query for any of these terms."""
    return f"({' | '.join(quoted(PLACE, term) for term in terms)})"


class Look(NamedTuple):
    """One look into a cell: what its rows must have, and how many of the newest are taken (all without a bound).

    `walks`: read from the newest row on until there are enough, not by the words' index, which gives all of a cell's.
    """

    cell: int
    query: str
    at_most: int | None
    walks: bool = False


def plan(cells: Sequence[Cell], groups: Sequence[Group], needs: Needs) -> list[Look]:
    """Where to look; no row is looked at twice. `cells`: the newest first."""
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
    """About how many rows of each cell have a group, of those that the needs leave."""

    group: Group
    cells: Mapping[int, float]
    total: float

    @classmethod
    def of(cls, group: Group, left: Mapping[int, float]) -> "_Rows":
        cells = {cell: min(group.cells[cell], rows) for cell, rows in left.items() if cell in group.cells}
        return cls(group, cells, sum(cells.values()))


def newest(cells: Iterable[int], rows: Mapping[int, float], budget: float) -> list[int]:
    """The newest of these cells that have so many rows together, at least one."""
    taken: list[int] = []
    for cell in cells:
        taken.append(cell)
        budget -= rows[cell]
        if budget <= 0:
            break
    return taken


def _is_dense(rows: float, docs: int) -> bool:
    """Whether NEWEST of so many rows are found sooner among all of a cell's, the newest first, than by their index."""
    return NEWEST * docs < rows * rows


def _beside(look: Look, queries: Sequence[str]) -> Look:
    """A look that passes over the rows that these queries find in its cell."""
    return look._replace(query=f"({look.query}) & !({' | '.join(queries)})") if queries else look


def _pairs(common: Sequence[_Rows], *, skip: Sequence[int], docs: Mapping[int, int]) -> list[Look]:
    """Looks for rows that have both of two common words, in the newest cells of those that are left."""
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
