"""The rows of an escalation's package, a page at a time, where a page may be all of it and may not be too much."""

from itertools import accumulate
from typing import Any

from escalations import selectors
from escalations.models import Escalation
from memoryhub.core.viewers import Viewer
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors.memories import DecisionRow, ObservationRow

Rows = list[ObservationRow | DecisionRow]

MOST_ROWS = 10_000
MOST_BYTES = 8 * 1024 * 1024
STEP = 250  # rows a trip to the database: each may have 256 kB, and all of a step are in memory before it is measured


def rows(
    viewer: Viewer, escalation: Escalation, *, position: Any, backwards: bool, limit: int
) -> tuple[Rows, int | None]:
    """Up to `limit` observations and decisions, newest first (`backwards`: oldest first) from `position` on.

    And how many of them may be shown, at least one, where their text is more than MOST_BYTES; else None.
    """
    found: Rows = []
    size = 0
    sources: list[Any] = [memories.observations, memories.decisions]
    while sources and len(found) < limit and size <= MOST_BYTES:
        step = min(STEP, limit - len(found))
        asked: Any = {"position": position, "backwards": backwards, "limit": step}
        fetched = [(fetch, fetch(viewer, selectors.frozen(escalation), **asked)) for fetch in sources]
        merged = sorted((row for _, some in fetched for row in some), key=lambda row: row.id, reverse=not backwards)
        found += merged[:step]
        size += sum(map(_size, merged[:step]))
        if found:
            position = found[-1].id
        # A source that had fewer than were asked for, all of them taken, has no more.
        taken = {row.id for row in merged[:step]}
        sources = [fetch for fetch, some in fetched if len(some) == step or (some and some[-1].id not in taken)]
    return found, _fitting(found) if size > MOST_BYTES else None


def _size(row: ObservationRow | DecisionRow) -> int:
    return len(row.body or row.sealed or "")


def _fitting(found: Rows) -> int:
    return max(1, sum(total <= MOST_BYTES for total in accumulate(map(_size, found))))
