"""A WSGI application on the event loop: the body is gathered first, then one thread makes the whole answer.

One hand-over to a thread and one back, and a client that sends slowly holds no thread. a2wsgi, which hands over each
part by itself, takes four each way (ADR 4). What streams or waits is an ASGI application of its own.
"""

import asyncio
import io
import os
import threading
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
from memoryhub.interface.server.turns import Turns

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

SMALL = 64 * 1024  # bytes; about what the server keeps of a body by itself
LARGE_AT_ONCE, HEAVY_AT_ONCE = 8, 4  # bodies over SMALL that are gathered, and that are served
OTHERS_TIMES = 4  # so many times a full queue may wait, each for a caller of its own: nobody fills it for all others
LOOK_AFTER_SECONDS = 0.1  # from then on it is watched whether the client is still there


class Threads:
    """Threads for what a path needs, shared by callers. `queue`: how many may wait; `nice`: less of the processor."""

    def __init__(self, name: str, count: int, *, queue: int | None = None, nice: int = 0) -> None:
        def begin() -> None:
            if nice and hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)  # of a thread, on Linux

        self.places, self.queue = Shares(count), queue
        self.pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name, initializer=begin)

    async def take(self, caller: Hashable) -> None:
        """Wait for a thread. Raises Unavailable when too many wait: of a caller who waits already, sooner."""
        waiting = self.places.waiting
        if self.queue and waiting >= self.queue * (1 if self.places.waiting_of(caller) else OTHERS_TIMES):
            raise Unavailable("Too many are doing this just now. Try again in a few seconds.", retry_after=5)
        await self.places.take(caller)


class Bridge:
    """Serves a WSGI application on threads, with bodies of up to `max_bytes`; it refuses longer ones itself.

    `is_slow`: which paths hash passwords, which is done on threads of their own. Only a few bodies over 64 KiB are
    gathered at once, so that clients cannot fill the memory, and only of callers whom `is_known` finds. Fewer are
    served, one of each caller, since they are work for the processor, of which all threads have one share each.
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
        """Serve one request of this caller. Raises HubError, what it is refused for before a thread has it."""
        length = head.length or 0
        try:
            # What is too long is not read: the application, which sees the length, says so in its order of refusals.
            body = b"" if length > self._max_bytes else await self._gather(caller, is_known, head, receive)
        except ConnectionResetError:
            return  # a body that breaks off is never taken for a shorter one
        environ = build_environ(scope, io.BytesIO(body))  # type: ignore[arg-type]
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["CONTENT_LENGTH"] = str(len(body))  # without it Django reads nothing of a chunked body
        answer = await self._run(caller, head, environ, receive, is_heavy=len(body) > SMALL)
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
            raise Unavailable("Too many large bodies are on their way. Try again.", retry_after=5) from None
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
            words = f"A valid API key is needed, before more than {SMALL} bytes are taken in."
            raise Unauthorized(words, headers={"WWW-Authenticate": 'Bearer realm="memoryhub"'})
        raise TooLarge(f"Without signing in, at most {SMALL} bytes may be sent.")

    # --- the answer ---

    async def _run(
        self, caller: Hashable, head: Head, environ: Any, receive: Receive, *, is_heavy: bool
    ) -> Answer | None:
        """The application's answer; None when the client has left."""
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
                    answer, seconds = await loop.run_in_executor(threads.pool, self._answer, environ, client.work)
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
        """The answer, and how many seconds of the processor it took."""
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
    """A body on its way: bounded in all, and in the time without a byte."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.found, self.more = bytearray(), True
        self._left = float(settings.BODY_SECONDS)

    async def read(self, size: int) -> None:
        """Read on, until there are more bytes than `size`, or all. Raises TooSlow, ConnectionResetError."""
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
    """Whether the client still waits. Before a thread has its request it is dropped; then its reads are cancelled."""

    def __init__(self, receive: Receive, cancelling: ThreadPoolExecutor) -> None:
        self._receive, self._cancelling = receive, cancelling
        self._waiting = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self.work = Work()
        self.is_served = False

    def watch(self) -> None:
        """Begin to watch it."""
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
        """Watch no more."""
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
