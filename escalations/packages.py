"""The rows of an escalation's package, a page at a time, where a page may be all of it and may not be too much."""

from itertools import accumulate
from operator import attrgetter, gt, lt
from typing import Any

from escalations import selectors
from escalations.models import Escalation
from memoryhub.core.verbs import has_scope
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

    None without the scope for them. And how many of them may be shown, at least one, where their text is more than
    MOST_BYTES; else None.
    """
    if not has_scope(viewer, selectors.MEMORY):
        return [], None
    found: Rows = []
    size = 0
    beyond = gt if backwards else lt
    sources: list[Any] = [memories.observations, memories.decisions]
    while sources and len(found) < limit and size <= MOST_BYTES:
        step = min(STEP, limit - len(found))
        asked: Any = {"position": position, "backwards": backwards, "limit": step}
        fetched = [(fetch, fetch(viewer, selectors.frozen(escalation), **asked)) for fetch in sources]
        merged: Rows = fetched[0][1]
        if len(fetched) > 1:
            merged = sorted((row for _, some in fetched for row in some), key=_id, reverse=not backwards)[:step]
        if not merged:
            break
        found += merged
        size += sum(map(_size, merged))
        position = merged[-1].id
        # A source that had fewer than were asked for, none of them beyond this position, has no more.
        sources = [fetch for fetch, some in fetched if len(some) == step or (some and beyond(some[-1].id, position))]
    return found, _fitting(found) if size > MOST_BYTES else None


_id = attrgetter("id")


def _size(row: ObservationRow | DecisionRow) -> int:
    return len(row.body or row.sealed or "")


def _fitting(found: Rows) -> int:
    return max(1, sum(total <= MOST_BYTES for total in accumulate(map(_size, found))))
