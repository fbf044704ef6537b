"""An escalation's timeline: what agents observed and decided, what people wrote, what changed; newest first, in pages.

Rows and events have time-ordered ids, so that one keyset runs through all the tables that a page is merged of, and a
page costs the same at 10 and at 10,000 items.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import F, Q, QuerySet

from escalations.desk.entries import NOTE, OF_DECISIONS, Item, Opening, items_of
from escalations.desk.item_text import folded, has_words
from escalations.models import Escalation
from escalations.selectors.escalations import alive_at, as_of, may_open_private
from memoryhub.core import work
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.db.fitting import Fitted
from memoryhub.core.errors import NotFound
from memoryhub.core.models import Event
from memoryhub.core.readable import readable
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.params import Params
from memoryhub.interface.live.reader import LiveEvent
from memoryhub.memory.kinds import KINDS, Kind
from memoryhub.memory.selectors import keysets, memories
from memoryhub.memory.selectors.memories import MemoryFilters

PAGE, PAGE_BYTES = 50, 2 * 1024 * 1024
# What one page may look through for the words of a search: so many entries, some at a time (of each kind at most
# PAGE_BYTES), until it has taken so long. Then it ends, perhaps without an item, and the next page goes on.
SEARCHED, STEP, SEARCH_SECONDS = 2_000, 250, 0.5
SINCE, BEFORE = "since", "before"  # the escalation
# What changes a state, without what only says that somebody is still there.
_STATE_ROWS = ("escalation", "task")
_NOT_SHOWN = ("escalation.keep", "escalation.renew")


# Which part an item is of is told by its `seq`. Its id, made by some process's clock a moment before COMMIT, only
# bounds where to look, by far more than clocks differ or transactions last; without the bound, one part is searched
# through for the other.
_MARGIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class TimelineFilters:
    """What the timeline is narrowed by. `private`: with the agents' reasoning, for who holds the claim (recorded)."""

    kind: str | None = None
    agent: str | None = None
    tag: str | None = None
    q: str | None = None
    private: bool = False

    @classmethod
    def read(cls, params: Params) -> "TimelineFilters":
        """From a query. Raises Invalid."""
        tag = params.text("tag", longest=100)
        return cls(
            kind=params.choice("kind", kinds()),
            agent=params.text("agent", longest=100),
            tag=tag and readable(tag).text,
            q=params.text("q", longest=200),
            private=params.boolean("private") or False,
        )

    @property
    def query(self) -> str:
        """The query that they are read from."""
        asked = {name: value for name, value in asdict(self).items() if value}
        return urlencode({name: "true" if value is True else value for name, value in asked.items()})

    @property
    def rest(self) -> str:
        """The same as the rest of a query that has begun."""
        return f"&{self.query}" if self.query else ""


PARAMETERS = frozenset(TimelineFilters.__dataclass_fields__)


def fits(item: Item, wanted: TimelineFilters) -> bool:
    """Whether an item stands on a timeline that is narrowed so: the one place that decides it.

    For an item of a page and for one that comes live. What statements say of the filters only bounds what is read.
    `private` is not decided here: what is private is readable, or not, to the transaction.
    """
    return (
        wanted.kind in (None, item.kind)
        and wanted.agent in (None, item.author)
        and (wanted.tag is None or wanted.tag in item.tags)
        and (wanted.q is None or has_words(item, _folded(wanted.q)))
    )


_folded = lru_cache(256)(folded)


def page(
    viewer: Viewer,
    row: Escalation,
    part: str,
    wanted: TimelineFilters,
    position: UUID | None = None,
    *,
    size: int = PAGE,
) -> tuple[list[Item], UUID | None]:
    """Up to `size` items below `position`, and the position that the next page goes on from (None: that was all).

    A page ends earlier where observations or decisions have more than PAGE_BYTES of text; with `q`, when it has looked
    through SEARCHED entries or for SEARCH_SECONDS, whatever it has found.
    `part`: what is `since` the escalation froze, or `before`. Opening what is confidential or private is recorded; of
    what a search looks through, only what it finds.
    """
    if wanted.private:
        _open_private(viewer, row)
    if not wanted.q:
        entries, following = _stretch(viewer, row, part, wanted, position, size)
        return _fitting(viewer, entries, wanted), following
    shown: list[Item] = []
    searched, ends_at = 0, time.monotonic() + SEARCH_SECONDS
    while True:
        entries, following = _stretch(viewer, row, part, wanted, position, STEP)
        found = _found(viewer, entries, wanted)
        shown += items_of(viewer, found[: size - len(shown)], Opening.SHOWN)
        if len(shown) == size and shown[-1].id != (entries[-1].id if entries else None):
            return shown, shown[-1].id
        searched += len(entries)
        if following is None or len(shown) == size or searched >= SEARCHED or time.monotonic() > ends_at:
            return shown, following
        position = following


def _fitting(viewer: Viewer, entries: Sequence[Any], wanted: TimelineFilters) -> list[Item]:
    """The entries that fit, as items to show."""
    if wanted.q:
        entries = _found(viewer, entries, wanted)
    return [item for item in items_of(viewer, entries, Opening.SHOWN) if fits(item, wanted)]


def _found(viewer: Viewer, entries: Sequence[Any], wanted: TimelineFilters) -> list[Any]:
    """The entries that fit. What is sealed is opened to be compared, and that is no reading."""
    found = []
    for entry, item in zip(entries, items_of(viewer, entries, Opening.COMPARED), strict=True):
        work.check()
        if fits(item, wanted):
            found.append(entry)
    return found


def _stretch(
    viewer: Viewer, row: Escalation, part: str, wanted: TimelineFilters, position: UUID | None, size: int
) -> tuple[list[Any], UUID | None]:
    """Up to `size` entries below `position`, newest first, narrowed by all filters but `q`; and the next position."""
    filters, floor = _of_part(row, part), memories.id_near(row.id, -_MARGIN) if part == SINCE else None
    filters.agent, filters.tags = wanted.agent, [wanted.tag] if wanted.tag else ()
    if position is None and part == BEFORE:
        position = memories.id_near(row.id, _MARGIN)
    memory, end = _memory(viewer, filters, wanted, position, floor, size + 1)
    # Changes older than this page's memory belong to a later page; without the bound, the search for them would pass
    # over every event of the task.
    floor = end or (memory[size].id if len(memory) > size else floor)
    events = _events(viewer, row.task_id, filters, wanted, position, floor)[: size + 1]
    found = sorted([*memory, *events], key=lambda entry: entry.id, reverse=True)[: size + 1]
    shown = [entry for entry in found[:size] if entry.id != end]
    return shown, shown[-1].id if len(found) > len(shown) else None


def _of_part(row: Escalation, part: str) -> MemoryFilters:
    after, up_to = (as_of(row), None) if part == SINCE else (None, as_of(row))
    alive = alive_at(row) if part == BEFORE else None
    return MemoryFilters(task=row.task_id, after_seq=after, up_to_seq=up_to, alive_at=alive)


def _open_private(viewer: Viewer, row: Escalation) -> None:
    if may_open_private(viewer, row):
        memories.open_private(row.task_id)


def item(viewer: Viewer, row: Escalation, item_id: UUID) -> Item:
    """One item of the escalation's task, opened. Raises NotFound."""
    _open_private(viewer, row)
    found = _by_ids(viewer, row, [item_id])
    if not found:
        raise NotFound()
    return items_of(viewer, found[:1], Opening.SHOWN)[0]


def items(viewer: Viewer, row: Escalation, wanted: TimelineFilters, ids: Sequence[UUID]) -> list[Item]:
    """Those of these items that fit, newest first, as a page shows them."""
    if wanted.private:
        _open_private(viewer, row)
    entries = sorted(_by_ids(viewer, row, ids), key=lambda entry: entry.id, reverse=True)
    return _fitting(viewer, entries, wanted)


def _by_ids(viewer: Viewer, row: Escalation, ids: Sequence[UUID]) -> list[Any]:
    """Those of these rows and events that are entries of the escalation's timeline."""
    found: list[Any] = list(_changes(viewer).filter(task_id=row.task_id, id__in=ids))
    for part in (SINCE, BEFORE):
        filters = _of_part(row, part)
        filters.ids = ids
        for kind in _kinds():
            found += memories.rows(viewer, kind.schema, filters, limit=len(ids))
    return found


def entries_of_events(viewer: Viewer, events: Sequence[UUID], row_types: Collection[str]) -> dict[UUID, list[Any]]:
    """Event id -> the entries that it made: itself, or rows. A batch of observations is one event with many."""
    made: dict[UUID, list[Any]] = {}
    for event in _changes(viewer).filter(id__in=events):
        made[event.id] = [event]
    filters = MemoryFilters(events=events)
    for kind in _kinds():
        if kind.events in row_types:
            for row in memories.rows(viewer, kind.schema, filters, limit=10_000):
                made.setdefault(row.change, []).append(row)
    return made


def changed_by(
    viewer: Viewer, events: Sequence[LiveEvent], entries: Mapping[UUID, Sequence[Any]]
) -> dict[UUID, list[UUID]]:
    """Event id -> what else on the timeline it has changed: the row that it is about, and what is told of that row.

    `entries`: those that the events made.
    """
    row_types = {kind.events for kind in _kinds()}
    made: dict[UUID, list[UUID]] = {}
    for event in events:
        is_new = any(not isinstance(entry, Event) for entry in entries.get(event.id, ()))
        changed = [UUID(event.data["supersedes"])] if "supersedes" in event.data else []
        if event.row_type in row_types and event.row_id and not is_new:
            changed.append(event.row_id)
        if event.type == "decision.outcome":
            # Only the last word on an outcome is kept.
            told = _changes(viewer).filter(task_id=event.task_id, type=event.type, row_id=event.row_id)
            changed += told.filter(id__gt=event.row_id).exclude(id=event.id).values_list("id", flat=True)
        made[event.id] = changed
    return made


def _kinds() -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.on_timeline]


def kinds() -> tuple[str, ...]:
    """What the timeline can be narrowed to: its kinds of rows, notes, changes of state."""
    return (*(kind.name for kind in _kinds()), "note", "state")


def _memory(
    viewer: Viewer,
    filters: MemoryFilters,
    wanted: TimelineFilters,
    position: UUID | None,
    floor: UUID | None,
    limit: int,
) -> tuple[list[Any], UUID | None]:
    """Up to `limit` rows, newest first; and the id of the first that has no room on the page, where one has none."""
    found: list[Fitted[Any]] = []
    for kind in _kinds():
        if wanted.kind in (None, kind.name) and (not wanted.tag or "tags" in kind.schema.__struct_fields__):
            place: Any = {"position": position, "floor": floor, "limit": limit}
            ids = keysets.page_of_ids(viewer, kind.schema, filters, **place)
            mine = MemoryFilters(ids=ids, alive_at=filters.alive_at)
            found.append(memories.rows(viewer, kind.schema, mine, limit=limit, most_bytes=PAGE_BYTES))
    end = max((rows[-1].id for rows in found if rows.at_most is not None), default=None)
    merged = sorted((row for rows in found for row in rows), key=lambda row: row.id, reverse=True)
    return [row for row in merged if end is None or row.id >= end], end


def _changes(viewer: Viewer) -> QuerySet[Event]:
    """The visible changes of states, and notes."""
    on_it = Q(row_type__in=_STATE_ROWS) | Q(type__in=OF_DECISIONS)
    rows = Event.objects.filter(on_it, audience__isnull=True).exclude(type__in=_NOT_SHOWN)
    return visible_to(viewer, rows.select_related("actor").annotate(seq=F("clock__seq")))


def _events(
    viewer: Viewer,
    task: UUID,
    filters: MemoryFilters,
    wanted: TimelineFilters,
    position: UUID | None,
    floor: UUID | None,
) -> QuerySet[Event]:
    rows = _changes(viewer).filter(task_id=task).order_by("-id")
    if wanted.tag or wanted.kind in {kind.name for kind in _kinds()}:
        return rows.none()
    if wanted.kind == "note":
        rows = rows.filter(type=NOTE)
    elif wanted.kind == "state":
        rows = rows.exclude(type=NOTE)
    if wanted.agent:
        rows = rows.filter(actor__name=wanted.agent)
    if filters.after_seq is not None:
        rows = rows.filter(clock__seq__gt=filters.after_seq)
    if filters.up_to_seq is not None:
        rows = rows.filter(clock__seq__lte=filters.up_to_seq)
    if position is not None:
        rows = rows.filter(id__lt=position)
    return rows.filter(id__gte=floor) if floor is not None else rows
