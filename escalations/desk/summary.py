"""What happened before an agent asked, in short: worked out from the memory, the same for the same memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from escalations.desk.entries import Item, Opening, items_of
from escalations.models import Escalation
from escalations.selectors.escalations import frozen
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.decisions import Decision
from memoryhub.memory.schemas.observations import Observation
from memoryhub.memory.schemas.rows import Stored
from memoryhub.memory.selectors import keysets, memories

DECISIONS = 12
TRIED, FOUND = 6, 4
_WORTH_TELLING = 0.5


@dataclass(frozen=True, slots=True)
class Tried:
    """A decision, and what its agent observed next: the result, as far as one can tell."""

    decision: Item
    result: Item | None


@dataclass(frozen=True, slots=True)
class Summary:
    """`decisions`: the latest, newest first. `tried`: the last of them with results, oldest first."""

    decisions: list[Item]
    tried: list[Tried]
    found: list[Item]


def summary(viewer: Viewer, row: Escalation, newest: Sequence[Item]) -> Summary:
    """The summary of what is frozen in the escalation. `newest`: the first page of its timeline."""
    filters = frozen(row)
    decided = memories.rows(viewer, Decision, filters, limit=DECISIONS)
    decisions = items_of(viewer, decided, Opening.SHOWN)
    results = _results(viewer, filters, decided[:TRIED])
    tried = [Tried(decision, results.get(decision.id)) for decision in reversed(decisions[:TRIED])]
    shown = {result.id for result in results.values()}
    worth = [
        item
        for item in newest
        if item.kind == "observation"
        and not item.private
        and item.id not in shown
        and (item.pinned or (item.importance or 0) >= _WORTH_TELLING)
    ]
    worth.sort(key=lambda item: (item.pinned, item.importance or 0), reverse=True)
    return Summary(decisions, tried, worth[:FOUND])


def _results(viewer: Viewer, filters: memories.MemoryFilters, decided: Sequence[Stored[Decision]]) -> dict[UUID, Item]:
    pairs = keysets.observed_next(viewer, filters, decided)
    if not pairs:
        return {}
    wanted = memories.MemoryFilters(task=filters.task, ids=[result for _, result in pairs], alive_at=filters.alive_at)
    found = memories.rows(viewer, Observation, wanted, limit=TRIED)
    items = {item.id: item for item in items_of(viewer, found, Opening.SHOWN)}
    # Of several decisions before one observation, it is the last one's result.
    last = {result: decision for decision, result in sorted(pairs)}
    return {decision: items[result] for result, decision in last.items() if result in items}
