"""What the desk's sockets are sent of an event: rendered once a process, shared by all who may see it.

A frame carries no sealed text. What depends on the viewer is decided in the browser, and enforced on click.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F
from django.template.loader import render_to_string

from escalations.desk.items import as_html
from escalations.desk.queue import rows_by_id
from escalations.desk.timeline import items_of_events
from memoryhub.core.models import Event
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.json import dump
from memoryhub.interface.live.reader import LiveEvent

MOST_BYTES = 1024 * 1024  # of one event's items: a frame that a socket's queue does not hold would end it each time
ROWS_AT_ONCE = 100  # of all events of a page; those of one batch stay together


@dataclass(frozen=True, slots=True)
class DeskFrames:
    """An event's frames. `plain`: for every desk, None when no row changes. `full`: for those with its task open."""

    plain: str | None
    full: str | None


def render(viewer: Viewer, events: Sequence[LiveEvent], watched: Collection[UUID]) -> list[DeskFrames]:
    """The frames of each event; those of administration are empty. One read for all.

    `watched`: the tasks whose timeline somebody has open; only their items are rendered. An escalation that changed
    several times among these events is rendered as it is now, once.
    """
    with viewer_transaction(viewer, read_only=True):
        rows = _rows(viewer, events)
        items = _items(viewer, [event for event in events if event.task_id in watched])
    return [_frame(event, rows, items.get(event.id, "")) for event in events]


def _rows(viewer: Viewer, events: Sequence[LiveEvent]) -> dict[tuple[UUID, int], str]:
    """(escalation, label) -> its row. One whose label is no longer the event's is not for all who may see the event."""
    changed = {event.row_id for event in events if event.row_type == "escalation" and event.row_id}
    if not changed:
        return {}
    found = rows_by_id(viewer, list(changed)).values()
    return {(row.id, row.label_id): render_to_string("escalations/_row.html", {"row": row}) for row in found}


def _items(viewer: Viewer, events: Sequence[LiveEvent]) -> dict[UUID, str]:
    """Event -> its items of the task's timeline, likewise of the event's own label only; read some rows at a time."""
    if not events:
        return {}
    if len(events) > 1 and sum(event.data.get("count", 1) for event in events) > ROWS_AT_ONCE:
        half = len(events) // 2
        return _items(viewer, events[:half]) | _items(viewer, events[half:])
    known = Event.objects.filter(id__in=[event.id for event in events]).select_related("actor")
    found = items_of_events(viewer, list(known.annotate(seq=F("clock__seq"))))
    labels = {event.id: str(event.label) for event in events}
    return {
        event: as_html([item for item in items if item.label == labels[event]], MOST_BYTES)
        for event, items in found.items()
    }


def _frame(event: LiveEvent, rows: dict[tuple[UUID, int], str], items: str) -> DeskFrames:
    escalation = event.row_id if event.row_type == "escalation" else None
    if escalation is None and not items:
        return DeskFrames(None, None)
    members = {
        "type": "event",
        "seq": event.seq,
        "event": event.type,
        "escalation": escalation,
        "task": event.task_id,
        "by": event.actor,
        "at": event.at,
        "state": event.data.get("state"),
        "row": rows.get((escalation, event.label.id)) if escalation else None,
        "item": None,
    }
    plain = dump(members).decode() if escalation else None
    return DeskFrames(plain, dump({**members, "item": items}).decode() if items else plain)
