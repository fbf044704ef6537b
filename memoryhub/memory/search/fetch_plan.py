"""Which postings are read, so that the cost of a search is bounded and good old hits are not lost.

The rarest words are read wholly. Of the commoner ones the newest cells are read; in older cells they count for the
documents that are looked at one by one (search.ranking).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from memoryhub.memory.search.terms import quoted

BUDGET = 12_000  # postings that are read of a query's words; and of each filter, and of each word that it excludes
PAIRS = 24_000  # and of two common words, in older cells, for the documents that have both


class Cell(NamedTuple):
    """A cell that the viewer may see. `docs`: its documents, of the `filled` that were added to it; `length`: their
    words. `is_within`: whether they may be of the requested times.
    """

    id: int
    shelf: int
    docs: int
    filled: int
    length: int
    is_within: bool


@dataclass(slots=True)
class Group:
    """Alternative terms, and the number of documents of each cell that have one. `names`: without keyed hashes."""

    shown: str
    terms: Sequence[str]
    names: Sequence[str] = ()
    weight: float = 1.0
    is_part: bool = False
    cells: Mapping[int, int] = field(default_factory=dict)

    @property
    def docs(self) -> int:
        """The number of documents that have one of the terms; more, where some have several."""
        return sum(self.cells.values())

    @property
    def query(self) -> str:
        """As a tsquery, for any of the terms."""
        return f"({' | '.join(map(quoted, self.terms))})"

    def within(self, cells: Iterable[int]) -> int:
        """The number of documents in these cells."""
        return sum(self.cells.get(cell, 0) for cell in cells)


def plan(groups: Sequence[Group], cells: Sequence[int]) -> tuple[list[Group], list[int]]:
    """The groups that are not read in all of these cells, as the others are; and the newest cells, in which they are.

    `cells`: the newest first.
    """
    left = BUDGET
    partly = sorted(groups, key=lambda group: (group.within(cells), group.terms))
    while partly and (cost := partly[0].within(cells)) <= left:
        left -= cost
        partly.pop(0)
    newest: list[int] = []
    for cell in cells if partly else ():
        cost = sum(group.cells.get(cell, 0) for group in partly)
        left -= cost
        if newest and left < 0:
            break
        if cost:
            newest.append(cell)
    return partly, newest


def pairs(common: Sequence[Group], cells: Sequence[int]) -> tuple[list[Group], list[int]]:
    """The two rarest of some common groups, and the newest cells in which documents with both are looked for."""
    rarest = sorted(common, key=lambda group: (group.docs, group.terms))[:2]
    taken: list[int] = []
    left = PAIRS
    for cell in cells if len(rarest) == 2 else ():
        counts = [group.cells.get(cell, 0) for group in rarest]
        left -= sum(counts)
        if left < 0:
            break
        if all(counts):
            taken.append(cell)
    return rarest if taken else [], taken
