"""A WSGI application on the event loop: the body is read first, then one thread makes the whole response.

One hand-over to a thread and one back, and a client that sends slowly holds no thread. a2wsgi, which hands over each
part by itself, takes four each way (ADR 4). Doors that stream or wait are ASGI applications of their own.
"""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from a2wsgi.wsgi import build_environ
from django.conf import settings

from memoryhub.core.errors import TooLarge, TooSlow, Unauthorized, Unavailable
from memoryhub.core.work import Work, doing
from memoryhub.interface.server.heads import Head
from memoryhub.interface.server.shares import Shares
from memoryhub.interface.server.threads import Threads
from memoryhub.interface.server.turns import Turns

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

SMALL = 64 * 1024  # bytes; about what the server buffers of a body by itself
LARGE_AT_ONCE, HEAVY_AT_ONCE = 8, 4  # concurrent bodies over SMALL: being read, and being served
LOOK_AFTER_SECONDS = 0.1  # from then on the client's disconnect is watched for


class Bridge:
    """Serves a WSGI application on threads, with bodies of up to `max_bytes`; the application refuses longer ones.

    `is_slow`: which requests hash passwords, on threads of their own. Only a few bodies over 64 KiB are read
    concurrently, so that clients cannot fill the memory, and only of callers that `is_known` finds. Fewer are served,
    one per caller, since they are CPU-bound and all threads share one processor.
    """

    def __init__(self, application: Any, *, workers: int, max_bytes: int, is_slow: Callable[[str, str], bool]) -> None:
        self._application, self._max_bytes, self._is_slow = application, max_bytes, is_slow
        self._threads = Threads("web", workers)
        self._slow = Threads("password", settings.PASSWORD_THREADS, queue=settings.PASSWORD_QUEUE, nice=10)
        self._large, self._heavy = Shares(LARGE_AT_ONCE), Shares(HEAVY_AT_ONCE)
        self._turns = Turns()
        self._cancelling = ThreadPoolExecutor(max_workers=2, thread_name_prefix="cancel")

    async def __call__(
        self,
        caller: Hashable,
        is_known: Callable[[], Awaitable[bool]],
        head: Head,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve one request of this caller. Raises HubError when it is refused before a thread has it."""
        length = head.length or 0
        try:
            # A body that is too long is not read: the application sees the length and refuses it, in its own order.
            body = b"" if length > self._max_bytes else await self._gather(caller, is_known, head, receive)
        except ConnectionResetError:
            return  # a truncated body is never taken for a shorter one
        environ = build_environ(scope, io.BytesIO(body))  # type: ignore[arg-type]
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["CONTENT_LENGTH"] = str(len(body))  # without it Django reads nothing of a chunked body
        is_heavy = len(body) > SMALL or b"content-encoding" in head.headers  # of which a little may be much
        answer = await self._run(caller, head, environ, receive, is_heavy=is_heavy)
        if answer is not None:
            is_whole = max(length, len(body)) <= self._max_bytes
            await _send(send, answer, is_whole=is_whole)

    # --- the body ---

    async def _gather(
        self, caller: Hashable, is_known: Callable[[], Awaitable[bool]], head: Head, receive: Receive
    ) -> bytes:
        if not head.has_body:
            return b""
        incoming = _Incoming(receive)
        if (head.length or 0) <= SMALL:
            await incoming.read(SMALL)
            if not incoming.more:
                return bytes(incoming.found)
        await self._admit(head, is_known)
        try:
            async with asyncio.timeout(settings.BODY_SECONDS):
                await self._large.take(caller)
        except TimeoutError:
            raise Unavailable("Too many large bodies are being received. Try again.", retry_after=5) from None
        try:
            await incoming.read(self._max_bytes)
        finally:
            self._large.give(caller)
        return bytes(incoming.found)

    async def _admit(self, head: Head, is_known: Callable[[], Awaitable[bool]]) -> None:
        """Raises Unauthorized, or TooLarge, unless one look-up finds the key or the session."""
        if await is_known():
            return
        if head.scope["path"].startswith("/api/"):
            words = f"A valid API key is needed to send more than {SMALL} bytes."
            raise Unauthorized(words, headers={"WWW-Authenticate": 'Bearer realm="memoryhub"'})
        raise TooLarge(f"Without signing in, at most {SMALL} bytes may be sent.")

    # --- the response ---

    async def _run(
        self, caller: Hashable, head: Head, environ: Any, receive: Receive, *, is_heavy: bool
    ) -> Answer | None:
        """The application's response; None when the client has disconnected."""
        loop = asyncio.get_running_loop()
        client = _Client(receive, self._cancelling)
        timer = loop.call_later(LOOK_AFTER_SECONDS, client.watch)
        threads = self._slow if self._is_slow(environ["REQUEST_METHOD"], environ["PATH_INFO"]) else self._threads
        repeated = head.headers.get(b"idempotency-key") if environ["REQUEST_METHOD"] == "POST" else None
        turn = None if repeated is None else (caller, repeated)
        try:
            with ExitStack() as held:
                if turn is not None:
                    await self._turns.take(turn)
                    held.callback(self._turns.give, turn)
                if is_heavy:
                    await self._heavy.take(caller)
                    held.callback(self._heavy.give, caller)
                await threads.take(caller)
                client.is_served = True
                seconds = 0.0
                try:
                    answer, seconds = await threads.run(self._answer, environ, client.work)
                finally:
                    threads.places.give(caller, seconds=0.0 if threads is self._slow else seconds)
                return answer
        except asyncio.CancelledError:
            if client.work.is_left:
                return None
            raise
        finally:
            timer.cancel()
            client.forget()

    def _answer(self, environ: Any, work: Work) -> tuple[Answer, float]:
        """The response, and the seconds of CPU time that it took."""
        before = time.thread_time()
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        with doing(work):
            parts = self._application(environ, lambda status, headers, exc_info=None: begun.append((status, headers)))
            try:
                answer = b"".join(parts)
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        status, headers = begun[-1]
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return (int(status[:3]), encoded, answer), time.thread_time() - before


class _Incoming:
    """A body that is being received: its time is bounded, in all and without a byte."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.found, self.more = bytearray(), True
        self._left = float(settings.BODY_SECONDS)

    async def read(self, size: int) -> None:
        """Read until there are more than `size` bytes, or all. Raises TooSlow, ConnectionResetError."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        end = now + self._left
        try:
            async with asyncio.timeout_at(min(end, now + settings.BODY_STALL_SECONDS)) as clock:
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    self.found += message.get("body", b"")
                    self.more = message.get("more_body", False)
                    if not self.more or len(self.found) > size:
                        break
                    clock.reschedule(min(end, loop.time() + settings.BODY_STALL_SECONDS))
        except TimeoutError:
            raise TooSlow("The body took too long to arrive.") from None
        self._left = end - loop.time()


class _Client:
    """Watches for a disconnect: the request is dropped before a thread has it; after that its reads are cancelled."""

    def __init__(self, receive: Receive, cancelling: ThreadPoolExecutor) -> None:
        self._receive, self._cancelling = receive, cancelling
        self._waiting = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self.work = Work()
        self.is_served = False

    def watch(self) -> None:
        """Start watching."""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.work.is_left = True
        if self.is_served:
            self._cancelling.submit(self.work.leave)
        elif self._waiting is not None:
            self._waiting.cancel()

    def forget(self) -> None:
        """Stop watching."""
        self._waiting = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None


async def _send(send: Send, answer: Answer, *, is_whole: bool) -> None:
    status, headers, body = answer
    if status not in (204, 304) and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    if not is_whole:
        headers = [*headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
