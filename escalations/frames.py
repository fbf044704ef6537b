"""What the desk's sockets are sent of an event: rendered once a process, shared by all who may see it.

A frame carries no sealed text. What depends on the viewer is decided in the browser, and enforced on click.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import F
from django.template.loader import render_to_string

from escalations.desk import rows_by_id
from escalations.timeline import items_of_events
from memoryhub.core.models import Event
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.json import dump
from memoryhub.interface.live import LiveEvent

# Administration is not the desk's business.
SHOWN = ("escalation.", "task.", "observation.", "decision.")


def render(viewer: Viewer, events: Sequence[LiveEvent], watched: frozenset[UUID]) -> list[str | None]:
    """A frame for each event, None for what the desk does not show. `viewer`: the team's own; one read for all.

    `watched`: the tasks whose timeline somebody has open; only their items are rendered.
    """
    shown = [event for event in events if event.type.startswith(SHOWN)]
    with viewer_transaction(viewer, read_only=True):
        rows = rows_by_id(viewer, list({e.row_id for e in shown if e.row_type == "escalation" and e.row_id}))
        asked = [event.id for event in shown if event.task_id in watched]
        known = Event.objects.filter(id__in=asked).select_related("actor").annotate(seq=F("clock__seq"))
        items = items_of_events(viewer, list(known)) if asked else {}
        # An escalation that changed several times in this batch is rendered as it is now, once.
        html = {row_id: render_to_string("escalations/_row.html", {"row": row}) for row_id, row in rows.items()}
        return [
            _frame(event, html, "".join(render_to_string("escalations/_item.html", {"item": i}) for i in items[event.id]))
            if event.id in items
            else _frame(event, html, "")
            for event in events
        ]


def _frame(event: LiveEvent, rows: dict[UUID, str], items: str) -> str | None:
    is_escalation = event.row_type == "escalation"
    if not is_escalation and not items:
        return None
    return dump(
        {
            "type": "event",
            "seq": event.seq,
            "event": event.type,
            "escalation": event.row_id if is_escalation else None,
            "task": event.task_id,
            "by": event.actor,
            "at": event.at,
            "state": event.data.get("state"),
            "row": rows.get(event.row_id) if is_escalation and event.row_id else None,
            "item": items or None,
        }
    ).decode()
