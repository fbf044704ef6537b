"""The rows of an escalation's package, page by page; a page may have all of them, within a bound of bytes."""

from operator import attrgetter, gt, lt
from typing import Any

from escalations.models import Escalation
from escalations.selectors import escalations
from memoryhub.core import work
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.viewers import Viewer
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.rows import Row, Stored
from memoryhub.memory.selectors import memories

Rows = list[Stored[Any]]

MOST_ROWS = 10_000
STEP = 250  # rows per trip to the database, where each is measured, whether it is read or not


def rows(
    viewer: Viewer, escalation: Escalation, *, position: Any, backwards: bool, limit: int, most_bytes: int
) -> Rows:
    """Up to `limit` observations and decisions, newest first (`backwards`: oldest first), after `position`.

    Empty without the scope for them. Reading stops once they have more than `most_bytes`.
    """
    if not has_scope(viewer, escalations.MEMORY):
        return []
    found: Rows = []
    size = 0
    beyond = gt if backwards else lt
    sources: list[type[Row]] = [kind.schema for kind in KINDS.values() if kind.in_package]
    while sources and len(found) < limit and size <= most_bytes:
        work.check()
        step = min(STEP, limit - len(found))
        page: Any = {"position": position, "backwards": backwards, "limit": step, "most_bytes": most_bytes}
        frozen = escalations.frozen(escalation)
        fetched = [(schema, memories.rows(viewer, schema, frozen, **page)) for schema in sources]
        merged: Rows = sorted((row for _, some in fetched for row in some), key=_id, reverse=not backwards)[:step]
        if ends := [some[-1].id for _, some in fetched if some.at_most is not None]:
            # What is beyond the end of a truncated source is unknown.
            end = min(ends) if backwards else max(ends)
            merged = [row for row in merged if not beyond(row.id, end)]
        if not merged:
            break
        found += merged
        size += sum(map(_size, merged))
        position = merged[-1].id
        # A source that returned fewer than requested, none of them beyond this position, has no more.
        sources = [
            schema
            for schema, some in fetched
            if len(some) == step or some.at_most is not None or (some and beyond(some[-1].id, position))
        ]
    return found


_id = attrgetter("id")


def _size(row: Stored[Any]) -> int:
    text = row.body if row.sealed is None else row.sealed
    tags = getattr(row.answer, "tags", ())
    return len(text.encode() if isinstance(text, str) else text) + sum(len(tag.encode()) for tag in tags)
