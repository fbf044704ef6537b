"""What the desk's sockets are sent of an event: rendered once a process, shared by all whose page shows the same.

A frame carries no sealed text. Whether its row or its items stand on a page is decided here, by the functions that a
reload asks (queue.fits, timeline.fits), once for each way in which pages are narrowed. What only one viewer may read,
and what has changed on a page, is named in `ask`: the page asks for it by its own rights.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string

from escalations.desk import timeline
from escalations.desk.entries import Item, Opening, items_of
from escalations.desk.items import as_htmls
from escalations.desk.queue import Filters, Fit, fitted_rows
from escalations.desk.timeline import TimelineFilters
from escalations.desk.watches import Watch
from escalations.selectors.escalations import holder
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.json import dump
from memoryhub.interface.live.reader import LiveEvent

MOST_BYTES = 1024 * 1024  # of one event's items: a frame that a socket's queue does not hold would end it each time
ROWS_AT_ONCE = 100  # of all events of a page; those of one batch stay together


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row of the queue as it is now, with its fit into each queue that somebody looks at."""

    html: str
    owner: UUID | None
    fits: Mapping[Filters, Fit]


@dataclass(frozen=True, slots=True)
class LiveItems:
    """What an event is on its task's timeline: the items to share, by how it is narrowed; and those to ask for.

    `holder`: who has claimed the task's case, where the items are private, and so may open them.
    """

    html: Mapping[TimelineFilters, str]
    ask: Sequence[UUID]
    holder: UUID | None = None


_NONE = LiveItems({}, ())


@dataclass(slots=True)
class DeskFrames:
    """An event's frames."""

    event: LiveEvent
    row: LiveRow | None
    items: LiveItems
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def text(self, watch: Watch, viewer: Viewer) -> str | None:
        """The frame for a page, which is written once for all that get the same; None where the event is nothing."""
        event = self.event
        escalation = event.row_id if event.row_type == "escalation" else None
        is_here = watch.task is not None and watch.task == event.task_id
        item = self.items.html.get(watch.timeline, "") if is_here and watch.timeline else ""
        ask = self.items.ask if is_here else ()
        if escalation is None and not item and not ask and not (is_here and event.row_type == "task"):
            return None
        key = (self._fits(watch, viewer), item, bool(ask))
        if key not in self._made:
            self._made[key] = dump(
                {
                    "type": "event",
                    "seq": event.seq,
                    "event": event.type,
                    "escalation": escalation,
                    "task": event.task_id,
                    "by": event.actor,
                    "at": event.at,
                    "state": event.data.get("state"),
                    "row": self.row.html if self.row else None,
                    "fits": key[0],
                    "item": item or None,
                    "ask": ask,
                }
            ).decode()
        return self._made[key]

    def opens(self, watch: Watch, viewer: Viewer) -> bool:
        """Whether the event is of private rows that the viewer, who has claimed the case, has on the page."""
        if self.items.holder != viewer.membership or watch.timeline is None or watch.task != self.event.task_id:
            return False
        return watch.timeline.private and viewer.dominates(self.event.label.sensitivity, self.event.label.compartments)

    def _fits(self, watch: Watch, viewer: Viewer) -> bool | None:
        if watch.queue is None or self.row is None:
            return None
        fit = self.row.fits[watch.queue]
        return fit.of_owner if self.row.owner == viewer.membership else fit.of_others


def render(viewer: Viewer, events: Sequence[LiveEvent], watched: Collection[Watch]) -> list[DeskFrames]:
    """The frames of each event, for the pages that show what is `watched`. One read for all.

    Only the items of tasks whose timeline somebody has open are rendered. An escalation that changed several times
    among these events is rendered as it is now, once.
    """
    timelines: defaultdict[UUID, set[TimelineFilters]] = defaultdict(set)
    for watch in watched:
        if watch.task is not None and watch.timeline is not None:
            timelines[watch.task].add(watch.timeline)
    with viewer_transaction(viewer, read_only=True):
        queues = list({watch.queue for watch in watched if watch.queue is not None})
        rows = _rows(viewer, events, queues)
        items = _items(viewer, [event for event in events if event.task_id in timelines], timelines)
    return [DeskFrames(event, rows.get((event.row_id, event.label.id)), items.get(event.id, _NONE)) for event in events]


def _rows(
    viewer: Viewer, events: Sequence[LiveEvent], watched: Sequence[Filters]
) -> dict[tuple[UUID | None, int], LiveRow]:
    """(escalation, label) -> its row. One whose label is no longer the event's is not for all who may see the event."""
    changed = {event.row_id for event in events if event.row_type == "escalation" and event.row_id}
    if not changed:
        return {}
    made: dict[tuple[UUID | None, int], LiveRow] = {}
    for row, fits in fitted_rows(viewer, list(changed), watched):
        html = render_to_string("escalations/_row.html", {"row": row})
        made[row.id, row.label_id] = LiveRow(html, row.owner_id, dict(zip(watched, fits, strict=True)))
    return made


def _items(
    viewer: Viewer, events: Sequence[LiveEvent], timelines: Mapping[UUID, Collection[TimelineFilters]]
) -> dict[UUID, LiveItems]:
    """Event -> its items of the task's timeline, likewise of the event's own label only; read some rows at a time."""
    if not events:
        return {}
    if len(events) > 1 and sum(event.data.get("count", 1) for event in events) > ROWS_AT_ONCE:
        half = len(events) // 2
        return _items(viewer, events[:half], timelines) | _items(viewer, events[half:], timelines)
    entries = timeline.entries_of_events(viewer, [event.id for event in events], {event.row_type for event in events})
    changed = timeline.changed_by(viewer, events, entries)
    made = {}
    for event in events:
        items = items_of(viewer, entries.get(event.id, ()), Opening.CLOSED)
        items = [item for item in items if item.label == str(event.label)]
        assert event.task_id is not None
        made[event.id] = _live_items(viewer, event, items, changed.get(event.id, ()), timelines[event.task_id])
    return made


def _live_items(
    viewer: Viewer,
    event: LiveEvent,
    items: Sequence[Item],
    changed: Sequence[UUID],
    watched: Collection[TimelineFilters],
) -> LiveItems:
    own = [item.id for item in items if item.text is None or item.private]
    shared = [item for item in items if item.text is not None and not item.private]
    htmls = as_htmls(shared, MOST_BYTES)
    joined = {
        wanted: "".join(html for item, html in zip(shared, htmls, strict=True) if timeline.fits(item, wanted))
        for wanted in watched
    }
    is_private = any(item.private for item in items) or event.audience is not None
    return LiveItems(joined, [*own, *changed], holder(viewer, event.task_id) if is_private and event.task_id else None)
