"""What an agent that takes a task up should know, within a budget of tokens.

Each part gets its share first, in order of use, so that a long one does not crowd out the others; what is left of the
budget then goes to the rest, in the same order. What found no room is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from memoryhub.core import work
from memoryhub.core.viewers import Viewer
from memoryhub.memory import answers, rendering
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors.facts import FactRow
from memoryhub.memory.selectors.learnings import Relevant
from memoryhub.memory.selectors.memories import Filters

DEFAULT_BUDGET, MIN_BUDGET, MAX_BUDGET = 4000, 200, 100_000  # tokens
BYTES_PER_TOKEN = 3  # of JSON in UTF-8: an estimate on the safe side, since every model counts its own way
SMALLEST = 100  # tokens: no row is shorter, so with less than that left nothing more is looked at
IMPORTANT = 0.7
CANDIDATES = 200  # rows that are looked at for a part
MOST_BYTES = 2 * 1024 * 1024  # of them: several times what the largest budget holds
LEARNINGS = 20
COUNTED = 1000  # of what is left out; beyond it is "at least"


@dataclass(slots=True)
class _Part:
    """Rows of one kind in their order, how they are answered, and their share of the budget."""

    kind: str
    share: float
    rows: Sequence[Any]
    render: Callable[[Any], Mapping[str, Any]]


@dataclass(slots=True)
class _Packed:
    """What has found room. A row is rendered once, since rendering records who reads what is confidential."""

    left: int
    chosen: dict[str, dict[Any, Any]] = field(default_factory=dict)
    _made: dict[Any, tuple[Any, int]] = field(default_factory=dict)

    def add(self, part: _Part, limit: int) -> None:
        """Take the part's rows while they fit into `limit` tokens; one that is too long is passed over."""
        chosen = self.chosen.setdefault(part.kind, {})
        for row in part.rows:
            work.check()
            if limit < SMALLEST:
                return
            key = _id(row)
            if key in chosen:
                continue
            if key not in self._made:
                made = part.render(row)
                self._made[key] = made, tokens(made)
            made, cost = self._made[key]
            if cost <= limit:
                chosen[key] = made
                limit -= cost
                self.left -= cost


def tokens(row: Any) -> int:
    """About how many tokens a row's JSON takes, rounded up."""
    return -(-len(orjson.dumps(row)) // BYTES_PER_TOKEN)


def of_task(
    viewer: Viewer, filters: Filters, *, facts: Sequence[FactRow], learnings: Sequence[Relevant], budget: int
) -> answers.Context:
    """The rows of a task that fit into `budget` tokens, and how many others there are.

    `filters`: the task, and what narrows its observations (tags concern no other) and decisions; `facts`: the task's;
    `learnings`: the most relevant first. Of a part at most CANDIDATES rows, of MOST_BYTES, are looked at.
    """

    def observed(**narrowed: Any) -> list[memories.ObservationRow]:
        return memories.observations(viewer, replace(filters, **narrowed), limit=CANDIDATES, most_bytes=MOST_BYTES)

    deciding = replace(filters, status="active", tags=())
    parts = [
        _Part(
            "decisions",
            0.3,
            memories.decisions(viewer, deciding, limit=CANDIDATES, most_bytes=MOST_BYTES),
            rendering.decision,
        ),
        _Part("observations", 0.15, observed(pinned=True), rendering.observation),
        _Part("facts", 0.15, facts, rendering.fact),
        _Part("observations", 0.15, observed(min_importance=IMPORTANT), rendering.observation),
        _Part("learnings", 0.1, learnings, rendering.relevant),
        _Part("observations", 0.15, observed(), rendering.observation),
    ]
    packed = _Packed(budget)
    for part in parts:
        packed.add(part, int(budget * part.share))
    for part in parts:
        packed.add(part, packed.left)
    there = {
        "decisions": memories.count(viewer, "decision", deciding, up_to=COUNTED + CANDIDATES),
        "observations": memories.count(viewer, "observation", filters, up_to=COUNTED + CANDIDATES),
        "facts": len(facts),
        "learnings": len(learnings),
    }
    chosen = {kind: list(packed.chosen[kind].values()) for kind in there}
    return {
        "decisions": chosen["decisions"],
        "observations": chosen["observations"],
        "facts": chosen["facts"],
        "learnings": chosen["learnings"],
        "budget": budget,
        "tokens": budget - packed.left,
        "left_out": {kind: _left_out(count - len(chosen[kind])) for kind, count in there.items()},
    }


def _id(row: Any) -> Any:
    return row.row.id if isinstance(row, Relevant) else row.id


def _left_out(count: int) -> answers.LeftOut:
    return {"count": min(count, COUNTED), "at_least": count > COUNTED}
