"""How the feed shows an event: the same members for the long poll and the stream, without content.

The stream's bytes are rendered once per process and event, and shared by all who may see it.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from memoryhub.core.access.labels import LabelRef, label_by_id
from memoryhub.core.errors import Code
from memoryhub.core.ledger.lives import BITS, Ledger
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.json import dump
from memoryhub.interface.live.reader import LiveEvent
from memoryhub.memory.schemas.rows import Instant
from memoryhub.memory.selectors import alerts as alert_selectors
from memoryhub.memory.selectors import tasks as task_selectors

# Administration is shown in the desk's ledger, not to agents.
ADMINISTRATION = frozenset({"membership", "compartment", "agent", "key", "team", "person", "queue", "feed", "ledger"})


class FeedEvent(TypedDict):
    """`id`: the row's, if any; `task`: its task's key, where the reader may see the task. `life`: the ordinal of the
    ledger's history that the event belongs to.
    """

    seq: int
    life: int
    type: str
    id: UUID | None
    row_type: str
    label: str
    author: str
    at: Instant
    data: dict[str, Any]
    task: NotRequired[str]


class FeedEvents(TypedDict):
    """`next`: the cursor to continue from. `life`: the ordinal of the ledger's present history."""

    events: list[FeedEvent]
    next: int
    life: int


@dataclass(frozen=True, slots=True)
class EventFrames:
    """An event's bytes in a stream. `named`: with the key of its task, for viewers who dominate the task's label.

    `alert`: the alert to push before it, for the alert's recipients.
    """

    plain: bytes
    named: bytes | None = None
    task_label: LabelRef | None = None
    alert: bytes = b""

    def of(self, viewer: Viewer) -> bytes:
        """The bytes for this viewer, who may see the event."""
        if self.named is None or self.task_label is None:
            return self.plain
        allowed = viewer.dominates(self.task_label.sensitivity, self.task_label.compartments)
        return self.named if allowed else self.plain


def page_of(viewer: Viewer, events: Sequence[LiveEvent]) -> list[FeedEvent]:
    """The events as the long poll returns them."""
    keys = task_selectors.keys_by_id(viewer, {event.task_id for event in events if event.task_id})
    return [_members(event, keys.get(event.task_id) if event.task_id else None) for event in events]


def render(viewer: Viewer, events: Sequence[LiveEvent], watched: Collection[Hashable]) -> list[EventFrames]:
    """The frame of each event, rendered by the system viewer for viewers of every clearance."""
    with viewer_transaction(viewer, read_only=True):
        tasks = task_selectors.refs_by_id(viewer, {event.task_id for event in events if event.task_id})
        alerts = alert_selectors.to_push(viewer, {event.row_id for event in events if is_alert(event) and event.row_id})
        pushed = {row: push(alert) for row, alert in alerts.items()}
    return [_frame(event, tasks, pushed) for event in events]


def _frame(event: LiveEvent, tasks: Mapping[UUID, task_selectors.Ref], pushed: Mapping[UUID, bytes]) -> EventFrames:
    plain = block(event.type, _members(event, None), seq=event.seq)
    alert = pushed.get(event.row_id, b"") if is_alert(event) and event.row_id else b""
    task = tasks.get(event.task_id) if event.task_id else None
    if task is None:
        return EventFrames(plain, alert=alert)
    named = block(event.type, _members(event, task.key), seq=event.seq)
    return EventFrames(plain, named, label_by_id(task.label_id), alert)


def is_alert(event: LiveEvent) -> bool:
    """Whether the event is that an alert was sent."""
    return event.type == "alert.send"


def push(row: alert_selectors.StoredAlert) -> bytes:
    """An alert as a stream pushes it; without an id to resume from, since it is pushed until it is acknowledged."""
    return block("alert", row.show_pushed())


def block(event: str, data: Any, *, seq: int | None = None) -> bytes:
    """One event of a stream (WHATWG HTML, 9.2.6). Without `seq` it has no id to resume from."""
    place = b"" if seq is None else b"id: %d\n" % seq
    return place + b"event: %s\ndata: %s\n\n" % (event.encode(), dump(data))


def resync(fork: int, ledger: Ledger) -> bytes:
    """The notice that events after `fork` are of a lost history; without an id, since it is no place to resume from."""
    return block("resync", {"code": Code.RESYNC, "floor": fork, "head": ledger.head, "life": ledger.life})


def place(seq: int) -> bytes:
    """The notice that everything up to `seq` was sent: a comment, as a keep-alive, and the id to resume from."""
    return b":\nid: %d\n\n" % seq


def _members(event: LiveEvent, task: str | None) -> FeedEvent:
    made: FeedEvent = {
        "seq": event.seq,
        "life": event.seq >> BITS,
        "type": event.type,
        "id": event.row_id,
        "row_type": event.row_type,
        "label": str(event.label),
        "author": event.actor,
        "at": event.at,
        # Events of earlier versions hold the verdict, which no agent may see before it is handed back.
        "data": {name: value for name, value in event.data.items() if name != "verdict"},
    }
    if task is not None:
        made["task"] = task
    return made
