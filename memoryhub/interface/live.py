"""What happens live: one reader a process and team reads each new event once; sockets and long polls subscribe.

The reader is woken by the doorbell, or by its own slow poll when a bell is lost. It never delivers an event that is
not on disk, never passes one over (`seq` is dense), and keeps nothing but the last `seq`: who was away asks the ledger.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from memoryhub.core import wake
from memoryhub.core.labels import LabelRef, label_by_id
from memoryhub.core.sql import run
from memoryhub.core.threads import in_thread
from memoryhub.core.transactions import settle, viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0  # how late a lost bell can make a reader
PAGE = 500


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """A committed event, without content."""

    seq: int
    id: UUID
    type: str
    actor: str
    row_type: str
    row_id: UUID | None
    task_id: UUID | None
    label: LabelRef
    audience: UUID | None
    data: dict[str, Any]
    at: datetime

    def is_for(self, viewer: Viewer) -> bool:
        """Whether this viewer may hear of it."""
        return viewer.dominates(self.label.sensitivity, self.label.compartments) and (
            self.audience is None or self.audience == viewer.membership
        )


class Subscriber(Protocol):
    """A socket or a long poll. hear() must not wait."""

    viewer: Viewer

    def hear(self, event: LiveEvent, frame: str | None) -> None:
        """An event that the viewer may see, with the frame that all who may see it share."""

    @property
    def task(self) -> UUID | None:
        """The task whose items it wants in its frames."""


Render = Callable[[Viewer, Sequence[LiveEvent], frozenset[UUID]], Sequence[str | None]]

_READ = """
select s.seq, e.id, e.type, m.name, e.row_type, e.row_id, e.task_id, e.label_id, e.audience_id, e.data::text, e.at
from event_seq s left join event e on e.id = s.event_id left join membership m on m.id = e.actor_id
where s.team_id = %(team)s::int and s.seq > %(after)s::bigint and s.seq <= %(head)s::bigint
order by s.seq limit %(limit)s::int
"""


def read_head(team: int) -> int:
    """The team's last `seq`."""
    ((head,),) = run("select coalesce(max(seq), 0) from event_seq where team_id = %s::int", [team])
    return int(head)


def read_events(viewer: Viewer, after: int, *, limit: int = PAGE) -> tuple[list[LiveEvent], int]:
    """The events after `after` that the viewer may see, in commit order, and the `seq` up to which that is all.

    They are on disk when this returns. The last `seq` is read before the viewer's labels are listed (again), so that
    no event up to it is hidden only because its label is newer than the list.
    """
    with viewer_transaction(viewer, read_only=True) as transaction:
        head = read_head(viewer.team)
        if head <= after:
            return [], after
        transaction.enter()
        rows = run(_READ, {"team": viewer.team, "after": after, "head": head, "limit": limit})
        made = [_event(row) for row in rows if row[1] is not None]
        reached = rows[-1][0] if rows else head
    if made:
        settle(made[-1].id)
    return made, reached


def _event(row: tuple[Any, ...]) -> LiveEvent:
    seq, event_id, type_, actor, row_type, row_id, task_id, label_id, audience, data, at = row
    label = label_by_id(label_id)
    return LiveEvent(seq, event_id, type_, actor, row_type, row_id, task_id, label, audience, json.loads(data), at)


class TeamReader:
    """Reads one team's ledger for all of this process's subscribers."""

    def __init__(self, team: int, render: Render) -> None:
        self.team = team
        self.seq = 0
        self.subscribers: set[Subscriber] = set()
        self._render = render
        self._bell = asyncio.Event()
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"live-{team}")

    def ring(self) -> None:
        """There may be something new."""
        self._bell.set()

    def stop(self) -> None:
        """Nobody listens any more."""
        self._task.cancel()

    async def started(self) -> int:
        """The `seq` from which on subscribers hear everything."""
        await self._started.wait()
        return self.seq

    async def _run(self) -> None:
        while True:
            try:
                if not self._started.is_set():
                    self.seq = await in_thread(self._head)
                    self._started.set()
                while await self._deliver():
                    pass
            except Exception as error:
                # The database is away: whoever listens gets everything when it is back.
                log.warning("live_reader_waits", team=self.team, error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), POLL_SECONDS)
            self._bell.clear()

    def _head(self) -> int:
        with viewer_transaction(system_viewer(self.team), read_only=True):
            return read_head(self.team)

    async def _deliver(self) -> bool:
        after, watched = self.seq, frozenset(who.task for who in self.subscribers if who.task is not None)
        events, frames, reached = await in_thread(functools.partial(self._read, after, watched))
        for event, frame in zip(events, frames, strict=True):
            for who in list(self.subscribers):
                if event.is_for(who.viewer):
                    who.hear(event, frame)
        self.seq = reached
        return len(events) == PAGE

    def _read(self, after: int, watched: frozenset[UUID]) -> tuple[list[LiveEvent], Sequence[str | None], int]:
        viewer = system_viewer(self.team)
        events, reached = read_events(viewer, after)
        if len(events) != reached - after:
            raise RuntimeError("the ledger has a gap: an event is not visible to its team's own viewer")
        return events, self._render(viewer, events, watched) if events else [], reached


class Live:
    """The readers of this process, and the doorbell that wakes them."""

    def __init__(self) -> None:
        self._readers: dict[int, TeamReader] = {}
        self._listening: asyncio.Task[None] | None = None
        self.subscribers: set[Subscriber] = set()

    async def subscribe(self, subscriber: Subscriber, render: Render) -> int:
        """From the `seq` that is returned on, the subscriber hears every event that it may see."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="live-bell")
        team = subscriber.viewer.team
        reader = self._readers.get(team)
        if reader is None:
            reader = self._readers[team] = TeamReader(team, render)
        reader.subscribers.add(subscriber)
        self.subscribers.add(subscriber)
        return await reader.started()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """It hears nothing more; a reader without subscribers stops."""
        self.subscribers.discard(subscriber)
        reader = self._readers.get(subscriber.viewer.team)
        if reader is not None:
            reader.subscribers.discard(subscriber)
            if not reader.subscribers:
                reader.stop()
                del self._readers[subscriber.viewer.team]

    def seq(self, team: int) -> int:
        """Up to which `seq` the team's subscribers have heard everything."""
        reader = self._readers.get(team)
        return reader.seq if reader else 0

    async def _listen(self) -> None:
        """Pass bells on. Without Valkey the readers poll, and nothing is lost but a second."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(wake.BELL, channel)
                while True:
                    message = await layer.receive(channel)
                    if reader := self._readers.get(message["team"]):
                        reader.ring()
            except Exception as error:
                log.warning("doorbell_away", error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)


live = Live()
