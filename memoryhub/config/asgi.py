"""The web process: sockets, streams and long polls on the event loop, all other HTTP on a thread pool.

Before any of it, requests are counted by caller (agents.waiting.callers), so that no one takes everything.
"""

import asyncio
import ctypes
import gc
import os
import platform
import re
import sys
from functools import partial
from urllib.parse import quote, unquote
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
django.setup()

from channels.routing import URLRouter  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402

from agents.waiting.answer import answer  # noqa: E402
from agents.waiting.callers import Caller, Callers, InFlight, Refusals  # noqa: E402
from agents.waiting.doors import Receive, Scope, Send, WaitingRequest  # noqa: E402
from agents.waiting.feed import feed  # noqa: E402
from agents.waiting.stream import stream  # noqa: E402
from escalations.desk.socket_urls import websocket_urlpatterns  # noqa: E402
from memoryhub.config.wsgi import application as wsgi_application  # noqa: E402
from memoryhub.core.db import patience  # noqa: E402
from memoryhub.core.errors import HubError, RateLimited  # noqa: E402
from memoryhub.interface.server.bridge import Bridge  # noqa: E402
from memoryhub.interface.server.heads import Head  # noqa: E402
from memoryhub.interface.server.protocol import GIVE_WAY  # noqa: E402
from memoryhub.interface.server.readiness import LATER_SECONDS, Pace, healthz, readyz  # noqa: E402
from memoryhub.interface.server.refusals import refuse  # noqa: E402

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ANSWER = re.compile(rf"/api/v1/escalations/({_UUID})/answer")
_NATIVE = {"/api/v1/feed": feed, "/api/v1/feed/stream": stream}
_PROBES = {"/healthz": healthz, "/readyz": readyz}  # answered under any load, and counted for no caller
# Paths whose POST hashes a password, which is slow on purpose.
_PASSWORDS = re.compile(r"/login/|/admin/login/|/admin/password_change/|/account/password/|/admin/core/actor/.*")

if settings.WEB_CORE is not None:
    # Before any thread starts. The threads of one interpreter take turns; across cores each turn is a wake-up (ADR 6).
    os.sched_setaffinity(0, {settings.WEB_CORE})
# The interpreter lock's switch interval (5 ms by default). A request takes the lock some ten times, and so does the
# loop: beside five threads that parse large schemas an ordinary request took 0.3 s.
sys.setswitchinterval(0.0005)
if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
    # mallopt(M_MMAP_THRESHOLD, ...): large responses get pages of their own, which go back to the system when freed. By
    # default glibc raises this threshold to 32 MB after the first of them, and keeps such blocks in a heap per thread.
    ctypes.CDLL(None).mallopt(-3, 64 * 1024)
    ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX: two heaps; the interpreter lets one thread at a time allocate
connection_created.connect(patience.limit)
_http = Bridge(
    wsgi_application,
    workers=settings.WEB_THREADS,
    max_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    is_slow=lambda method, path: method == "POST" and _PASSWORDS.fullmatch(path) is not None,
)
_callers = Callers()
_in_flight, _waits, _refusals = InFlight(), InFlight(), Refusals()
_pace = Pace()
_sockets = CookieMiddleware(URLRouter(websocket_urlpatterns))

# What is loaded by now lives as long as the process. The collector skips it, and runs less often: while the 10,000 rows
# of a package become a response it would take a third of the time (P14).
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "websocket":
        await _sockets(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        head = caller = None
        try:
            head = Head.of(scope)
            if probe := _PROBES.get(scope["path"]):
                if not _pace.is_too_quick(head.address) or await _pause(scope, LATER_SECONDS):
                    await probe(scope, receive, send)
            else:
                caller = await _callers.find(head)
                await _serve(caller, head, receive, send)
        except HubError as error:
            is_there = True
            if head is not None and isinstance(error, RateLimited):
                is_there = await _refusals.hold(caller or Caller("address", head.address), partial(_pause, scope))
            if is_there:
                await refuse(head, scope, send, error)


async def _pause(scope: Scope, seconds: float) -> bool:
    """Delay a request that is not served: its connection may be closed for another. False: it is closed."""
    give_way = scope.get("extensions", {}).get(GIVE_WAY)
    if give_way is None:
        await asyncio.sleep(seconds)
        return True
    gone, _ = await asyncio.wait([give_way()], timeout=seconds)
    return not gone


async def _serve(caller: Caller, head: Head, receive: Receive, send: Send) -> None:
    """Serve an HTTP request, as one of its caller's. Raises HubError."""
    scope = head.scope
    native = _NATIVE.get(scope["path"])
    if native is None and (found := _ANSWER.fullmatch(scope["path"])):
        native = partial(answer, escalation_id=UUID(found[1]))
    counted = _in_flight if native is None else _waits
    counted.take(caller)
    try:
        if native is not None:
            await native(WaitingRequest.of(caller, scope), receive, send)
        else:
            is_known = partial(_callers.is_known, head, caller)
            await _http(caller, is_known, head, _plain(scope), receive, send)
    finally:
        counted.give(caller)


def _plain(scope: Scope) -> Scope:
    """The request in WSGI's form: no header with an underscore, which could pass for another, and an ASCII query."""
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    query = scope["query_string"]
    if not query.isascii():
        query = quote(query, safe="".join(map(chr, range(0x21, 0x7F)))).encode()
    return {**scope, "headers": headers, "query_string": query, "path": _path(scope)}


def _path(scope: Scope) -> str:
    """The decoded path, in which %2F stays encoded: it belongs to a key, and separates nothing."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" not in raw.lower():
        return str(scope["path"])
    return unquote(re.sub("%2f", "%252F", raw.decode("latin-1"), flags=re.IGNORECASE))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
