"""A WSGI application on the event loop: the body is gathered first, then one thread makes the whole answer.

One hand-over to a thread and one back, and a client that sends slowly holds no thread. a2wsgi, which hands over each
part by itself, takes four each way (ADR 4). What streams or waits is an ASGI application of its own.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from a2wsgi.wsgi import build_environ

from memoryhub.core.errors import TooSlow
from memoryhub.interface.problems import problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

SMALL = 64 * 1024  # bytes; about what the server keeps of a body by itself
LARGE_AT_ONCE = 8
BODY_SECONDS = 60.0


class Bridge:
    """Serves a WSGI application on `workers` threads, with bodies of up to `max_bytes`; it refuses longer ones itself.

    Only a few bodies over 64 KiB are gathered at once, so that clients cannot fill the memory.
    """

    def __init__(self, application: Any, *, workers: int, max_bytes: int) -> None:
        self._application, self._max_bytes = application, max_bytes
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="web")
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI application, for one request."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._gather(receive)
        except ConnectionResetError:
            return  # a body that breaks off is never taken for a shorter one
        except TimeoutError:
            status, told, answer = problem(TooSlow("The body took too long to arrive."), uuid4().hex)
            sent = [(name.lower().encode(), value.encode()) for name, value in {**told, "Connection": "close"}.items()]
            await _send(send, status, sent, answer)
            return
        environ = build_environ(scope, io.BytesIO(body))  # type: ignore[arg-type]
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["CONTENT_LENGTH"] = str(len(body))  # without it Django reads nothing of a chunked body
        answering = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, environ)
        await _send(send, *await answering)

    async def _gather(self, receive: Receive) -> bytes:
        body, more = await _receive(receive)
        if not more:
            return body
        found = bytearray(body)
        while more and len(found) <= SMALL:
            body, more = await _receive(receive)
            found += body
        if more:
            async with self._large:
                while more and len(found) <= self._max_bytes:
                    body, more = await _receive(receive)
                    found += body
        return bytes(found)

    def _answer(self, environ: Any) -> tuple[int, Headers, bytes]:
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        parts = self._application(environ, lambda status, headers, exc_info=None: begun.append((status, headers)))
        try:
            answer = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        status, headers = begun[-1]
        return (
            int(status[:3]),
            [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            answer,
        )


async def _send(send: Send, status: int, headers: Headers, answer: bytes) -> None:
    if status not in (204, 304) and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _receive(receive: Receive) -> tuple[bytes, bool]:
    """A part of the body, and whether more is to come. Raises ConnectionResetError when the client has gone away."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ConnectionResetError
    return message.get("body", b""), message.get("more_body", False)
