"""Live events: one reader per process and team reads each new event once; sockets and long polls subscribe.

The reader is woken by the doorbell, or by its own slow poll when a bell is lost. It delivers only durable events, skips
none (a life of the ledger is dense), and keeps nothing but the last `seq`: a client that was away reads the ledger.
Where the ledger has begun another life, the reader continues from the fork (ADR 10).
"""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from memoryhub.core import metrics, wake
from memoryhub.core.access.labels import LabelRef, label_by_id
from memoryhub.core.db import durability
from memoryhub.core.db.statements import run
from memoryhub.core.db.threads import in_thread
from memoryhub.core.errors import Gone, Unavailable, describe
from memoryhub.core.ledger.events import read_ledger
from memoryhub.core.ledger.lives import Ledger
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0  # the delay of a reader by a lost bell
BEAT_SECONDS = 10.0
JOIN_SECONDS = 5.0
PAGE = 500
TURN_SECONDS = 0.02  # of the event loop, which all requests share
MAX_BEHIND = 10_000  # events; a cursor further behind must resync, which is cheaper for both sides


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
    audience: Collection[UUID] | None  # the only members who may hear of it
    people: bool  # no agent may hear of it
    data: dict[str, Any]
    at: datetime

    def is_for(self, viewer: Viewer) -> bool:
        """Whether this viewer may hear of it: the label and the audience allow it, or it is about their own rights."""
        if self.row_id == viewer.membership:
            return True
        if (self.people and viewer.is_agent) or not viewer.dominates(self.label.sensitivity, self.label.compartments):
            return False
        return self.audience is None or viewer.membership in self.audience


Heard = Sequence[tuple[LiveEvent, Any]]  # events, each with what `render` made of it
# Renders each event, once for all who may see it; `watched`: what their pages show (Subscriber.watch).
Render = Callable[[Viewer, Sequence[LiveEvent], Collection[Any]], Sequence[Any]]


class Subscriber(Protocol):
    """A socket or a long poll. Its methods neither wait nor raise."""

    @property
    def viewer(self) -> Viewer: ...

    @property
    def watch(self) -> Hashable:
        """What its page shows, for `render`; None: its frames are those of all."""

    @property
    def render(self) -> Render | None:
        """What renders its frames; None: the event itself is enough."""

    def overhears(self, event: LiveEvent, frame: Any) -> bool:
        """Whether it hears of an event that is not for its viewer, by what `render` has found out of them."""

    def hear(self, heard: Heard) -> None:
        """Events that the viewer may see, in their order, each with what `render` made of it."""

    def beat(self, seq: int) -> None:
        """Everything up to `seq` was delivered. Called every BEAT_SECONDS while the ledger can be read."""

    def fork(self, fork: int, ledger: Ledger) -> None:
        """What was delivered after `fork` is of a lost life; what it hears next follows `fork`."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter of events. `types`: of events (`observation.log`) or of rows (`observation`), any of them;
    `except_rows`: the types of rows whose events are left out.
    """

    types: frozenset[str] | None = None
    task: UUID | None = None
    except_rows: frozenset[str] = frozenset()

    def takes(self, event: LiveEvent) -> bool:
        """Whether the event is wanted."""
        return self.task in (None, event.task_id) and self.takes_kind(event.type, event.row_type)

    def takes_kind(self, type: str, row_type: str) -> bool:
        """Whether events of this type, about rows of this type, are wanted."""
        if row_type in self.except_rows:
            return False
        return self.types is None or type in self.types or row_type in self.types


EVERYTHING = EventFilter()

_READ = """
select s.seq, e.id, e.type, m.name, e.row_type, e.row_id, e.task_id, e.label_id, e.audience_id, e.recipients,
       e.people, e.data::text, e.at
from event_seq s join event e on e.id = s.event_id left join membership m on m.id = e.actor_id
where s.team_id = %(team)s::int and s.seq > %(after)s::bigint and s.seq <= %(head)s::bigint{}
order by s.seq limit %(limit)s::int
"""
_TYPES = " and (e.type = any (%(types)s::varchar[]) or e.row_type = any (%(types)s::varchar[]))"
_TASK = " and e.task_id = %(task)s::uuid"
_EXCEPT = " and e.row_type <> all (%(except)s::varchar[])"


def read_head(viewer: Viewer) -> int:
    """The last durable `seq` of the viewer's team; call it outside a transaction."""
    return durability.head(viewer.team)


def check_cursor(viewer: Viewer, after: int) -> Ledger:
    """The ledger of the viewer's team, with its last durable `seq` as its head, for a client that resumes after
    `after`. The cursors of all doors are checked here.

    Call it outside a transaction. Raises Gone (`resync`, with `floor`, `head` and `life`) for a cursor of a lost life,
    ahead of the ledger, below the floor that pruning has raised, or more than MAX_BEHIND events behind. A client that
    resumes at `floor` misses nothing that followed what it has heard of this life, unless its cursor was too old.
    Raises Unavailable where it is too early to say.
    """
    ledger = read_ledger(viewer)
    head = ledger.head
    floor = max(ledger.floor, ledger.at(ledger.position(head) - MAX_BEHIND))
    fork = ledger.fork_before(after)
    if fork is None and after > head and ledger.is_growing:
        raise Unavailable("The database is a standby, or replays a backup, and has not reached this cursor yet.")
    if fork is None and floor <= after <= head:
        return replace(ledger, head=read_head(viewer))
    where = "head"
    if fork is not None:
        floor, where = max(floor, fork), "floor or at head"
        why = f"of a lost history of the ledger: what came after {fork} was undone. Read"
    else:
        why = "ahead of the ledger: read" if after > head else "too old: read"
    refusal = f"This cursor is {why} a fresh snapshot of what you need, and resume at {where}."
    raise Gone(refusal, floor=floor, head=head, life=ledger.life)


def read_events(
    viewer: Viewer, after: int, head: int, *, limit: int = PAGE, wanted: EventFilter = EVERYTHING
) -> tuple[list[LiveEvent], int]:
    """The wanted events after `after` that the viewer may see, in commit order, and the `seq` up to which that is all.

    `head` must be read before this transaction begins: then the events are durable, and none up to it is hidden only
    because its label is newer than the list of the viewer's labels, which is made when a transaction begins.
    """
    if head <= after:
        return [], after
    with viewer_transaction(viewer, read_only=True):
        made = [_event(row) for row in run(*_reading(viewer, after, head, limit, wanted))]
    return made, made[-1].seq if len(made) == limit else head


def _reading(viewer: Viewer, after: int, head: int, limit: int, wanted: EventFilter) -> tuple[str, dict[str, Any]]:
    # Only the conditions of filters that are set, so that the planner sees the query as it is.
    params: dict[str, Any] = {"team": viewer.team, "after": after, "head": head, "limit": limit}
    conditions = ""
    if wanted.types is not None:
        conditions, params["types"] = _TYPES, sorted(wanted.types)
    if wanted.task is not None:
        conditions, params["task"] = conditions + _TASK, wanted.task
    if wanted.except_rows:
        conditions, params["except"] = conditions + _EXCEPT, sorted(wanted.except_rows)
    return _READ.format(conditions), params


def _event(row: tuple[Any, ...]) -> LiveEvent:
    seq, event_id, type_, actor, row_type, row_id, task_id, label_id, only, recipients, people, data, at = row
    label = label_by_id(label_id)
    audience = frozenset(recipients) if recipients is not None else None if only is None else frozenset({only})
    return LiveEvent(
        seq, event_id, type_, actor, row_type, row_id, task_id, label, audience, people, json.loads(data), at
    )


class _Forked(Exception):
    """The ledger has another life after `fork` than the one that was read."""

    def __init__(self, fork: int, ledger: Ledger) -> None:
        super().__init__(fork)
        self.fork, self.ledger = fork, ledger


class TeamReader:
    """Reads one team's ledger for all of this process's subscribers."""

    def __init__(self, team: int) -> None:
        self.team = team
        self.seq: int | None = None  # up to which everything was delivered; None: not yet known
        self._subscribers: set[Subscriber] = set()
        self._joining: dict[Subscriber, asyncio.Future[int]] = {}
        self._bell = asyncio.Event()
        self._beaten = 0.0
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(), name=f"live-{team}")

    def ring(self, seq: int) -> None:
        """The ledger has reached `seq`."""
        if self.seq is None or seq > self.seq:
            self._bell.set()

    async def join(self, subscriber: Subscriber) -> int:
        """Add a subscriber; returns the `seq` after which it hears everything. TimeoutError if the database is away."""
        # Between two reads only: a read in progress does not render for this subscriber.
        entered = self._joining[subscriber] = asyncio.get_running_loop().create_future()
        self._bell.set()
        return await asyncio.wait_for(entered, JOIN_SECONDS)

    @property
    def listeners(self) -> int:
        """The number of subscribers."""
        return len(self._subscribers)

    def leave(self, subscriber: Subscriber) -> bool:
        """Remove a subscriber; returns whether none is left, and the reader has stopped."""
        self._joining.pop(subscriber, None)
        self._subscribers.discard(subscriber)
        if self._joining or self._subscribers:
            return False
        if self._task is not None:
            self._task.cancel()
            self._task = None
        return True

    async def _run(self) -> None:
        while True:
            try:
                while await self._deliver():
                    pass
            except Exception as error:
                # The database is away: subscribers get everything once it is back, and no beat until then.
                log.warning("live_reader_waits", team=self.team, **describe(error))
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._beat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), POLL_SECONDS)

    async def _deliver(self) -> bool:
        """Read and deliver a page; returns whether there may be more."""
        self._bell.clear()
        if self.seq is None:
            self.seq = await in_thread(lambda: read_head(system_viewer(self.team)), first=True)
        self._admit(self.seq)
        watched = {who.watch for who in self._subscribers if who.watch is not None}
        renders = {who.render for who in self._subscribers if who.render is not None}
        read = functools.partial(self._read, self.seq, renders, watched)
        try:
            events, frames, reached = await in_thread(read, first=True)
        except _Forked as forked:
            log.warning("ledger_forked", team=self.team, fork=forked.fork, life=forked.ledger.life, seq=self.seq)
            self.seq = forked.fork
            for who in tuple(self._subscribers):
                who.fork(forked.fork, forked.ledger)
            return True
        if events:
            await self._tell(events, frames)
            metrics.LIVE_DELAY.observe((datetime.now(UTC) - events[0].at).total_seconds())
        self.seq = reached
        return len(events) == PAGE

    async def _tell(self, events: Sequence[LiveEvent], frames: Mapping[Render, Sequence[Any]]) -> None:
        """Let each subscriber hear its events, all at once; others have a turn after each TURN_SECONDS."""
        made: dict[Render | None, Heard] = {None: [(event, None) for event in events]}
        made |= {render: list(zip(events, found, strict=True)) for render, found in frames.items()}
        began = time.perf_counter()
        for who in tuple(self._subscribers):
            if who not in self._subscribers:
                continue  # it has left meanwhile
            viewer = who.viewer
            heard = [one for one in made[who.render] if one[0].is_for(viewer) or who.overhears(*one)]
            if heard:
                who.hear(heard)
            if time.perf_counter() - began > TURN_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _admit(self, seq: int) -> None:
        for subscriber, entered in self._joining.items():
            self._subscribers.add(subscriber)
            if not entered.done():
                entered.set_result(seq)
        self._joining.clear()

    def _read(
        self, after: int, renders: Collection[Render], watched: Collection[Hashable]
    ) -> tuple[list[LiveEvent], dict[Render, Sequence[Any]], int]:
        viewer = system_viewer(self.team)
        head = read_head(viewer)
        ledger = read_ledger(viewer)
        fork = ledger.fork_before(after)
        if fork is not None or (after > ledger.head and not ledger.is_growing):
            raise _Forked(ledger.head if fork is None else fork, ledger)
        if (kept := ledger.fork_before(head)) is not None:  # what was durable is lost since
            head = kept
        with viewer_transaction(viewer, read_only=True):
            events, reached = read_events(viewer, after, head)
            if len(events) != ledger.position(reached) - ledger.position(after):
                raise RuntimeError("the ledger has a gap: an event is not visible to its team's own viewer")
            return events, {render: render(viewer, events, watched) for render in renders if events}, reached

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._beaten < BEAT_SECONDS or self.seq is None:
            return
        self._beaten = now
        for who in tuple(self._subscribers):
            who.beat(self.seq)


class Live:
    """The readers of this process, and the doorbell that wakes them."""

    def __init__(self) -> None:
        self._readers: dict[int, TeamReader] = {}
        self._listening: asyncio.Task[None] | None = None

    async def subscribe(self, subscriber: Subscriber) -> int:
        """Subscribe; after the returned `seq` the subscriber hears every event that it may see.

        Raises Unavailable while the database is away. Call unsubscribe() afterwards, in any case.
        """
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="live-bell")
        team = subscriber.viewer.team
        reader = self._readers.get(team)
        if reader is None:
            reader = self._readers[team] = TeamReader(team)
        try:
            return await reader.join(subscriber)
        except TimeoutError:
            raise Unavailable() from None

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Unsubscribe; a reader without subscribers stops. Idempotent."""
        team = subscriber.viewer.team
        reader = self._readers.get(team)
        if reader is not None and reader.leave(subscriber):
            del self._readers[team]

    @property
    def listeners(self) -> int:
        """The number of subscribers, of all teams."""
        return sum(reader.listeners for reader in tuple(self._readers.values()))

    async def _listen(self) -> None:
        """Pass bells on to the readers. Without Valkey they poll, which costs a second at most."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(wake.BELL, channel)
                while True:
                    for team, seq in (await layer.receive(channel))["reached"]:
                        if reader := self._readers.get(team):
                            reader.ring(seq)
            except Exception as error:
                log.warning("doorbell_away", error=type(error).__name__)
                with contextlib.suppress(Exception):
                    await layer.flush()  # discards a half-made subscription
                await asyncio.sleep(POLL_SECONDS)


live = Live()
metrics.LISTENERS.set_function(lambda: live.listeners)
