"""GET /api/v1/feed/stream: the feed as server-sent events, first from the ledger, then live.

A stream costs its process a bounded queue of shared bytes. A client that does not read is disconnected and may resume;
it delays nobody, since nothing waits for it.
"""

import asyncio
import re
from collections import deque
from functools import partial
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from agents.api.doors import room
from agents.waiting import frames
from agents.waiting.doors import (
    Receive,
    Send,
    WaitingRequest,
    connected,
    disconnected,
    encode,
    noted,
    send_whole,
)
from agents.waiting.feed import NEEDED, EventsQuery, wanted_of
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.errors import Code, FieldError, Invalid, describe
from memoryhub.core.ledger.lives import Ledger
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.live.reader import EventFilter, Heard, LiveEvent, check_cursor, live, read_events, read_head
from memoryhub.interface.live.rights import Rights
from memoryhub.memory.selectors import alerts as alert_selectors

DOOR = "api/v1/feed/stream"
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MAX_WAITING_BYTES = 1024 * 1024
SEND_BYTES = 64 * 1024  # per write
SEND_SECONDS = 30.0  # per write; then a client that does not read is disconnected
CLOSE_SECONDS = 1.0
MOST_ALERTS = 100  # pushed when a stream begins; the list has all
HELLO = b"retry: 2000\n\n"
# Why the server has ended a stream.
REVOKED, TOO_SLOW, FAILED, FORKED = "rights", "slow", "failed", "forked"

STREAMS = Gauge("memoryhub_streams", "Open streams of the feed of this process.")
ENDED = Counter("memoryhub_streams_ended_total", "Streams of the feed that this side has ended, by reason.", ["reason"])
_SEQ = re.compile(r"0|[1-9][0-9]{0,15}")

log = structlog.get_logger(__name__)


async def stream(request: WaitingRequest, receive: Receive, send: Send) -> None:
    """Follow the feed as server-sent events: `id` is the `seq`, `event` the type, `data` an event of the feed.

    `Last-Event-ID` is the `seq` to resume after; else `after`; else the stream begins now. Every event is delivered at
    least once, in commit order, whatever is written meanwhile; an id without an event marks how far the feed was sent.
    To a key with the scope `alerts` the stream also pushes each alert (`event: alert`, without an id) when it is sent,
    and at its start those not yet acknowledged. A client that does not keep up is disconnected and may resume. 410
    `resync` instead of a stream, as for the feed.
    """
    made = Stream(request, send)
    async with noted(request, DOOR, lambda: made.status):
        serving = asyncio.create_task(made.serve())
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait((serving, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the process stops, and the stream with it
            if made.status == 200:
                await send({"type": "http.response.body", "body": b""})
        finally:
            serving.cancel()
            gone.cancel()
            await asyncio.wait((serving,))


class Stream:
    """One client's stream. It is a live.Subscriber, and a Connection of the rights' sweeper."""

    watch = None
    render = staticmethod(frames.render)
    viewer: Viewer
    rights: Rights
    wanted: EventFilter

    def __init__(self, request: WaitingRequest, send: Send) -> None:
        self.request, self._send = request, send
        self.status: int | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._filled = asyncio.Event()
        self._reached: int | None = None  # the `seq` up to which the ledger was sent; None: not yet
        self._last_id = 0  # the greatest id that was sent or queued
        self._farewell = b""  # the last bytes to send
        self._pumping: asyncio.Task[None] | None = None
        self._ended = ""

    async def serve(self) -> None:
        """Send the stream until the server ends it; a problem instead, when it cannot begin."""
        try:
            self.request.check()
            after = await self.request.read(self._open)
            with connected(self):
                await live.subscribe(self)
                head = await self.request.read(partial(self._resume, after))
                self._last_id = head if after is None else after
                await self._run(self._last_id, head)
        except Exception as error:
            if self.status is not None:
                log.error("stream_failed", **describe(error))
                return
            reply = self.request.refusal(error)
            self.status = reply[0]
            await send_whole(self._send, self.request, reply)

    def _open(self) -> int | None:
        self.viewer = self.request.admit(NEEDED)
        self.rights = Rights(self.viewer)
        self._takes_alerts = has_scope(self.viewer, "alerts")
        query = self.request.query(EventsQuery)
        self.wanted = wanted_of(self.viewer, query)
        after = query.after
        if (last := self.request.headers.get("last-event-id")) is not None:
            if not _SEQ.fullmatch(last):
                words = "This must be the id of an event of the stream."
                raise Invalid(errors=(FieldError("Last-Event-ID", Code.BAD_FORMAT, words),))
            return int(last)
        return after

    def _resume(self, after: int | None) -> int:
        return read_head(self.viewer) if after is None else check_cursor(self.viewer, after).head

    async def _run(self, after: int, head: int) -> None:
        self.status = 200
        headers = encode({**HEADERS, **self.request.limits, "X-Request-Id": self.request.request_id})
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if self._ended:  # while the head was sent
            return await self._close()
        STREAMS.inc()
        self._pumping = asyncio.create_task(self._pump(after, head))
        try:
            await asyncio.wait((self._pumping,))
            if not self._pumping.cancelled() and (error := self._pumping.exception()):
                if not isinstance(error, TimeoutError):
                    log.error("stream_failed", **describe(error))
                self.end(TOO_SLOW if isinstance(error, TimeoutError) else FAILED)
            await self._close()
        finally:
            self._pumping.cancel()
            self._pumping = None  # breaks the reference cycle with this stream and its queue
            self._queue.clear()
            STREAMS.dec()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            pass  # the client does not read; the server closes the connection when this application returns

    def end(self, reason: str) -> None:
        """End the stream from the server's side. Nothing more is sent, not even what is queued."""
        if self._ended:
            return
        self._ended = reason
        ENDED.labels(reason).inc()
        live.unsubscribe(self)
        self._queue.clear()
        if self._pumping is not None:
            self._pumping.cancel()

    def revoke(self) -> None:
        """End the stream: its rights have changed."""
        self.end(REVOKED)

    def overhears(self, event: LiveEvent, frame: Any) -> bool:
        """No agent does."""
        return False

    def hear(self, heard: Heard) -> None:
        """Queue the events that are wanted. A change to the viewer's own membership ends the stream."""
        for event, frame in heard:
            if event.type == "membership.change" and event.row_id == self.viewer.membership:
                self.revoke()
            elif self.wanted.takes(event) and (self._reached is None or event.seq > self._reached):
                is_sent_here = self._takes_alerts and event.actor != self.viewer.name
                self._put(event.seq, (frame.alert if is_sent_here else b"") + frame.of(self.viewer))

    def beat(self, seq: int) -> None:
        """Queue the beat: every event up to this `seq` that is for this stream is queued before it."""
        if self._reached is not None:
            self._put(seq, frames.place(max(seq, self._reached)))

    def fork(self, fork: int, ledger: Ledger) -> None:
        """End a stream that was sent events from after the fork, with a `resync`; the others continue."""
        if self._last_id <= fork or self._farewell or self._ended:
            return
        self._farewell = frames.resync(fork, ledger)
        ENDED.labels(FORKED).inc()
        live.unsubscribe(self)
        self._filled.set()

    def _put(self, seq: int, data: bytes) -> None:
        if self._ended or self._farewell:
            return
        self._last_id = max(self._last_id, seq)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self.end(TOO_SLOW)
            return
        self._queue.append((seq, data))
        self._filled.set()

    async def _pump(self, after: int, head: int) -> None:
        await self._write(HELLO)
        while after < head and not self._farewell:
            missed, reached = await self.request.read(partial(self._missed, after))
            await self._write(missed)
            if reached == after:
                break  # the ledger is shorter by now: the reader will report the fork
            self._last_id = after = reached
        await self._write(await self.request.read(self._open_alerts))
        self._reached = after
        for seq, data in tuple(self._queue):
            if seq <= after:  # already sent from the ledger
                self._queue.popleft()
                self._waiting_bytes -= len(data)
        while True:
            self._filled.clear()
            if data := self._take():
                await self._write(data)
                self._waiting_bytes -= len(data)
            elif self._farewell:
                return await self._write(self._farewell)
            else:
                await self._filled.wait()

    def _take(self) -> bytes:
        """The next queued bytes, about SEND_BYTES."""
        parts: list[bytes] = []
        size = 0
        while self._queue and size < SEND_BYTES:
            parts.append(self._queue.popleft()[1])
            size += len(parts[-1])
        return b"".join(parts)

    def _missed(self, after: int) -> tuple[bytes, int]:
        """The events after `after`, read with this viewer's own rights, and the `seq` that they reach."""
        head = read_head(self.viewer)
        with viewer_transaction(self.viewer, read_only=True):
            events, reached = read_events(self.viewer, after, head, wanted=self.wanted)
            made = frames.page_of(self.viewer, events)
        blocks = [frames.block(event["type"], event, seq=event["seq"]) for event in made]
        return b"".join([*blocks, frames.place(reached)]), reached

    def _open_alerts(self) -> bytes:
        """This agent's alerts that are not acknowledged, the oldest first."""
        if not self._takes_alerts or not self.wanted.takes_kind("alert.send", "alert"):
            return b""
        with viewer_transaction(self.viewer, read_only=True):
            filters = alert_selectors.AlertFilters()
            rows = alert_selectors.alerts(self.viewer, filters, limit=MOST_ALERTS, most_bytes=room())
            wanted = [row for row in reversed(rows[: rows.at_most]) if self.wanted.task in (None, row.task_id)]
            return b"".join(frames.push(row) for row in wanted)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        async with asyncio.timeout(SEND_SECONDS):
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
