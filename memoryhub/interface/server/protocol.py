"""HTTP on the wire, in uvicorn's protocol: bounds of time and size before a request exists, and after its response.

Refusals here are problems, too. `connections` counts and watches; a deadline is an attribute that is checked twice a
second, so that a request pays for no timer.
"""

import asyncio
from functools import lru_cache
from http import HTTPStatus
from math import inf
from typing import Any, cast
from uuid import uuid4

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from memoryhub.core.errors import HeadersTooLarge, HubError, Invalid, RateLimited, TooSlow, Unavailable, UriTooLong
from memoryhub.interface.http.addresses import is_proxy, neighbourhood
from memoryhub.interface.server.connections import CUT, connections

MAX_LINES = 200  # of headers: each line costs more than its bytes
MAX_PIPELINED = 16  # requests that wait behind the one that is served
# Of a body in chunks, or sent in small writes: so many pieces, and one more per so many bytes.
FREE_PIECES, PIECE_BYTES = 1_000, 64
MAX_FRAGMENTS = 1_000  # of a message on a socket
# An ASGI extension: this request's connection may be closed for another; returns a future, done once it is closed.
GIVE_WAY = "memoryhub.give_way"
# Another, of a socket: writes texts at once, as long as nothing waits before them; returns how many.
WRITE_NOW = "memoryhub.write_now"
SHARED_CHARS = 64 * 1024  # of texts that are written together; their frames are kept for the other sockets
# A refused client may still be sending: the rest is read and dropped for so long, or a reset would lose the refusal.
LINGER_SECONDS = 5.0
LINGER_BYTES = 16 * 1024 * 1024
DROP_SECONDS = 0.01  # per piece of at most 256 kB that any of them sends: a flood is read at 25 MB/s at most
MAX_REFUSED = 64  # concurrent refusals of connections without a place; more are just closed


class _Lingering(set[asyncio.Transport]):
    """The connections whose remaining input is read and dropped."""

    def drop(self, one: asyncio.Transport) -> None:
        """A piece arrived: pause before the next."""
        one.pause_reading()
        asyncio.get_running_loop().call_later(DROP_SECONDS * len(self), self._go_on, one)

    def _go_on(self, one: asyncio.Transport) -> None:
        if one in self and not one.is_closing():
            one.resume_reading()


_lingering = _Lingering()


class _Out:
    """What a request's cycle writes to: its connection, which does not close while the request still arrives."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, wire: "Wire") -> None:
        self.write, self.is_closing, self.close = wire.transport.write, wire.transport.is_closing, wire.close


class _Counted(asyncio.Protocol):
    """A connection that `connections` counts and watches."""

    transport: asyncio.Transport
    neighbour: str | None = None
    deadline = inf

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, from either side."""
        connections.forget(self)
        _lingering.discard(self.transport)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        connections.stalled(self)

    def resume_writing(self) -> None:
        """The client keeps up again."""
        super().resume_writing()
        connections.flowing(self)

    def expire(self) -> None:
        """Never due for a WebSocket: pings detect a dead peer."""

    def give_way(self) -> None:
        """Close immediately."""
        self.transport.abort()


class Wire(_Counted, HttpToolsProtocol):
    """One connection. KEEP_ALIVE_SECONDS replaces uvicorn's own keep-alive timer."""

    _refused = 0  # of the class: connections that are being refused for want of a place

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.ws_protocol_class is not None:
            self.ws_protocol_class = WireSocket
        self._error: HubError | None = None  # why the parser was stopped
        self._is_resting = True
        self._is_in_head = self._is_over = False
        self._lingers: int | None = None  # bytes that may still be read and dropped
        self._gone: asyncio.Future[None] | None = None
        self._head = self._lines = self._pieces = self._body = self._unended = 0

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Admit it, or refuse it for want of a place."""
        super().connection_made(transport)
        self.neighbour = neighbour_of(self.client)
        self._out = _Out(self)
        self.deadline = self.loop.time() + settings.HEADER_SECONDS
        if connections.admit(self):
            return
        CUT.labels("no_place").inc()
        if Wire._refused >= MAX_REFUSED:
            transport.abort()
            return
        Wire._refused += 1
        self.loop.call_later(1, self._end_refused)
        self._respond(Unavailable("There are too many connections, in all or from this address. Try again."))

    def _end_refused(self) -> None:
        Wire._refused -= 1
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, from either side."""
        super().connection_lost(exc)
        self._let_go()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _let_go(self) -> None:
        """Break the reference cycles, which would keep this object and the parser's memory until a full collection."""
        self.cycle = self.scope = self._out = None  # type: ignore[assignment]
        self.pipeline.clear()

    def give_way(self) -> None:
        """Close the idle connection."""
        self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()

    def expire(self) -> None:
        """Refuse a head that takes too long; close an idle connection, and one that does not end."""
        if self._lingers is not None or self.transport.is_closing():
            self.transport.abort()
        elif self._is_in_head or not self._is_resting:
            CUT.labels("slow_head").inc()
            self._refuse(TooSlow(f"The head of a request must arrive within {settings.HEADER_SECONDS} seconds."))
        else:
            self.give_way()
            self.deadline = self.loop.time() + LINGER_SECONDS

    def close(self) -> None:
        """Close once all is sent; where the request still arrives, its rest is dropped first."""
        if self._lingers is not None or self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()
            self.deadline = self.loop.time() + settings.SEND_SECONDS

    def _linger(self) -> None:
        connections.wake(self)
        self._lingers = LINGER_BYTES
        _lingering.add(self.transport)
        self.deadline = self.loop.time() + LINGER_SECONDS
        self.flow.resume_reading()
        self.transport.write_eof()

    # --- input ---

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection is over."""
        if self._lingers is not None:
            self._lingers -= len(data)
            if self._lingers < 0:
                self.transport.abort()
            else:
                _lingering.drop(self.transport)
            return
        if self._is_over:
            return
        if self._is_resting:
            self._is_resting = False
            self.deadline = self.loop.time() + settings.HEADER_SECONDS
        was_in_head = self._is_in_head
        super().data_received(data)
        if self._is_in_head and was_in_head:
            # An unterminated line reaches no callback; what has ended was counted by on_header, too.
            self._unended += len(data)
            if self._unended > 2 * settings.HEADER_BYTES:
                self._refuse(self._too_long())

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._head = self._lines = self._pieces = self._body = self._unended = 0

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        if len(self.url) > settings.HEADER_BYTES:
            self._stop(self._too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or of a trailer: both count."""
        self._lines += 1
        self._head += len(name) + len(value) + 4
        if self._head > settings.HEADER_BYTES or self._lines > MAX_LINES:
            self._stop(self._too_long())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: the application bounds what follows."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(RateLimited(f"At most {MAX_PIPELINED} requests may wait on one connection."))
        self._is_in_head = False
        self.deadline = inf
        connections.wake(self)  # not before: an incomplete head holds no place that another needs
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = cast(asyncio.Transport, self._out)
            self.scope["extensions"] = {GIVE_WAY: self._offer}  # type: ignore[dict-item]  # not one of the standard

    def _offer(self) -> "asyncio.Future[None]":
        """The request waits for a delayed response: until then its place may go to another."""
        connections.rest(self, fresh=True)
        self._gone = self.loop.create_future()
        if self.transport.is_closing():
            self._gone.set_result(None)
        return self._gone

    def on_body(self, body: bytes) -> None:
        """A part of the body. Each costs a turn of the loop, so they may not all be tiny."""
        self._pieces += 1
        self._body += len(body)
        if self._pieces > FREE_PIECES + self._body // PIECE_BYTES:
            self._stop(Invalid("The body arrives in too many tiny pieces."))
        super().on_body(body)

    def _stop(self, error: HubError) -> None:
        """Stop the parser, from one of its callbacks."""
        self._error = error
        raise ValueError

    def _too_long(self) -> HubError:
        if len(self.url) > settings.HEADER_BYTES:
            return UriTooLong(f"The address may have at most {settings.HEADER_BYTES} bytes.")
        words = f"The headers may have at most {settings.HEADER_BYTES} bytes and {MAX_LINES} lines."
        return HeadersTooLarge(words)

    # --- output ---

    def on_response_complete(self) -> None:
        """Serve the next request that waits, or become idle."""
        self.server_state.total_requests += 1
        if self._lingers is not None or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            connections.wake(self)
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.cycle.more_body:
            self._linger()  # it was answered early: the rest of the body is not read
        else:
            self._is_resting = not self._is_in_head
            seconds = settings.KEEP_ALIVE_SECONDS if self._is_resting else settings.HEADER_SECONDS
            self.deadline = self.loop.time() + seconds
            connections.rest(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP (400), or is too long (414, 431), and close the connection."""
        wrong = Invalid("This is not a valid HTTP request: its method, address or a header is malformed.")
        self._refuse(self._error or wrong)

    def _refuse(self, error: HubError) -> None:
        """Refuse what arrives with a problem, in its turn, and close."""
        self._is_over = True
        running = self.cycle is not None and not self.cycle.response_complete
        if running and not self.cycle.more_body:
            self.cycle.keep_alive = False  # those before it are answered, and then the connection closes
            return
        if running and (self.cycle.response_started or self.pipeline):
            self.transport.abort()
            return
        if running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._respond(error)

    def _respond(self, error: HubError) -> None:
        # The server imports this module before it sets up Django, which the problems need.
        from memoryhub.interface.http.problems import problem

        request_id = uuid4().hex
        status, headers, body = problem(error, request_id)
        headers |= {"Content-Length": str(len(body)), "Connection": "close", "X-Request-Id": request_id}
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode("latin-1") + b"\r\n" + body)
        self._linger()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, which continues to count."""
        connections.forget(self)
        super().handle_websocket_upgrade()
        self._let_go()


class WireSocket(_Counted, WebSocketsSansIOProtocol):
    """A WebSocket's connection: it counts as one, and a client that reads nothing, not even pongs, is disconnected."""

    _lingers = False  # what still arrives is dropped

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it. Until it is accepted, its place may go to another."""
        super().connection_made(transport)
        self.close_timeout = LINGER_SECONDS
        self.neighbour = neighbour_of(self.client)
        connections.take(self)
        connections.rest(self, fresh=True)

    def handle_connect(self, event: Any) -> None:
        """Begin the handshake; its application may write at once."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, Any], self.scope["extensions"])[WRITE_NOW] = self.write_now

    def write_now(self, texts: tuple[str, ...]) -> int:
        """Write texts that many sockets are sent, whose frames are made once; how many, before send() must decide."""
        is_plain = self.handshake_complete and not self.close_sent and not self.conn.extensions
        written = 0
        for part in _parts(texts):
            if not is_plain or self.disconnected or self.conn.state is not State.OPEN or not self.writable.is_set():
                break
            self.transport.write(_frames_of(part) if len(part[0]) <= SHARED_CHARS else _frames_of.__wrapped__(part))
            written += len(part)
        return written

    async def send(self, message: Any) -> None:
        """Send the application's message. After its close, the place may go to another."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            connections.wake(self)
        elif self.close_sent:
            connections.rest(self, fresh=True)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection is over."""
        if self._lingers:
            _lingering.drop(self.transport)
        else:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Close it with the fault's code. Its peer may still be sending, and a reset would lose the code."""
        closing = self.conn.close_sent
        assert closing is not None
        self._lingers = self.close_sent = True
        _lingering.add(self.transport)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": closing.code, "reason": closing.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        connections.rest(self, fresh=True)

    def handle_cont(self, event: Any) -> None:
        """A part of a message. Their number is bounded, since empty ones add no bytes."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.transport.abort()
            return
        super().handle_cont(event)


def _parts(texts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The texts in their order, as many together as have SHARED_CHARS; a longer one by itself."""
    if sum(map(len, texts)) <= SHARED_CHARS:
        return [texts]
    parts: list[list[str]] = []
    size = 0
    for text in texts:
        size += len(text)
        if not parts or size > SHARED_CHARS:
            parts.append([])
            size = len(text)
        parts[-1].append(text)
    return [tuple(part) for part in parts]


@lru_cache(maxsize=16)
def _frames_of(texts: tuple[str, ...]) -> bytes:
    """The frames of texts from a server (RFC 6455, 5.2)."""
    return b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)


def neighbour_of(client: tuple[str, int] | None) -> str | None:
    """The peer's address, as budgets count it; None for a trusted proxy, or a Unix socket, behind which one is."""
    if client is None or is_proxy(client[0]):
        return None
    return neighbourhood(client[0])
