"""A task's context: what its next agent should know, within a budget of tokens.

Each part gets its share first, in order of usefulness, so that a long one does not crowd out the others; what is left
of the budget then goes to the rest, in the same order. What does not fit is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from memoryhub.core import work
from memoryhub.core.viewers import Viewer
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.context import LeftOut
from memoryhub.memory.schemas.decisions import Decision
from memoryhub.memory.schemas.observations import Observation
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors.facts import StoredFact
from memoryhub.memory.selectors.learnings import Relevant
from memoryhub.memory.selectors.memories import MemoryFilters

DEFAULT_BUDGET, MIN_BUDGET, MAX_BUDGET = 4000, 200, 100_000  # tokens
BYTES_PER_TOKEN = 3  # of JSON in UTF-8: a conservative estimate, since tokenizers differ
SMALLEST = 100  # tokens: no row is shorter, so with less than that left nothing more is tried
IMPORTANT = 0.7
WORDS = 0.25  # of the budget, at most, for what people have said
CANDIDATES = 200  # rows that are read for a part
MOST_BYTES = 2 * 1024 * 1024  # of them: several times what the largest budget holds
LEARNINGS = 20
COUNTED = 1000  # of what is left out; beyond it is "at least"


@dataclass(slots=True)
class _Part:
    """Rows of one kind, in order, and their share of the budget."""

    kind: str
    share: float
    rows: Sequence[Any]


@dataclass(slots=True)
class _Packed:
    """What fits. A row is rendered once, since rendering a confidential row is recorded."""

    left: int
    chosen: dict[str, dict[Any, Any]] = field(default_factory=dict)
    _made: dict[Any, tuple[Any, int]] = field(default_factory=dict)

    def add(self, part: _Part, limit: int) -> None:
        """Take the part's rows while they fit into `limit` tokens; one that is too long is skipped."""
        chosen = self.chosen.setdefault(part.kind, {})
        for row in part.rows:
            work.check()
            if limit < SMALLEST:
                return
            if row.id in chosen:
                continue
            if row.id not in self._made:
                made = row.show()
                self._made[row.id] = made, tokens(made)
            made, cost = self._made[row.id]
            if cost <= limit:
                chosen[row.id] = made
                limit -= cost
                self.left -= cost


def tokens(row: Any) -> int:
    """The estimated number of tokens of a row's JSON, rounded up."""
    return -(-len(msgspec.json.encode(row)) // BYTES_PER_TOKEN)


def of_task(
    viewer: Viewer, filters: MemoryFilters, *, facts: Sequence[StoredFact], learnings: Sequence[Relevant], budget: int
) -> dict[str, Any]:
    """The rows of a task that fit into `budget` tokens, and how many others there are.

    `filters`: the task, and what narrows its decisions and observations (tags: only these); `facts`: the task's;
    `learnings`: the most relevant first. Reads at most CANDIDATES rows and MOST_BYTES per part.
    """
    asked = partial(memories.question, viewer, limit=CANDIDATES, most_bytes=MOST_BYTES)
    counted = partial(memories.count, viewer, up_to=COUNTED + CANDIDATES)
    words = MemoryFilters(task=filters.task, task_key=filters.task_key, after_seq=filters.after_seq)
    deciding = replace(filters, status="active", tags=())
    important = replace(filters, min_importance=IMPORTANT)
    # All of it in one trip; filters by tag and author do not apply to what people have said.
    heard = {kind.plural: asked(kind.schema, words).ask_ahead() for kind in KINDS.values() if kind.in_words}
    decided = asked(Decision, deciding).ask_ahead()
    observed = [asked(Observation, one).ask_ahead() for one in (replace(filters, pinned=True), important, filters)]
    decisions = counted(Decision, deciding).ask_ahead()
    observations = counted(Observation, filters).ask_ahead()
    pinned, weighty, others = (found() for found in observed)
    said = [_Part(kind, WORDS, found()) for kind, found in heard.items()]
    parts = [
        _Part("decisions", 0.3, decided()),
        _Part("observations", 0.15, pinned),
        _Part("facts", 0.15, facts),
        _Part("observations", 0.15, weighty),
        _Part("learnings", 0.1, learnings),
        _Part("observations", 0.15, others),
    ]
    packed = _Packed(budget)
    for part in said:
        packed.add(part, packed.left - int(budget * (1 - WORDS)))
    rest = packed.left
    for part in parts:
        packed.add(part, int(rest * part.share))
    for part in parts:
        packed.add(part, packed.left)
    there = {part.kind: len(part.rows) for part in said} | {
        "decisions": decisions(),
        "observations": observations(),
        "facts": len(facts),
        "learnings": len(learnings),
    }
    chosen = {kind: list(packed.chosen[kind].values()) for kind in there}
    return {
        **chosen,
        "budget": budget,
        "tokens": budget - packed.left,
        "left_out": {kind: _left_out(count - len(chosen[kind])) for kind, count in there.items()},
    }


def _left_out(count: int) -> LeftOut:
    return LeftOut(min(count, COUNTED), count > COUNTED)
