"""A signed-in person's WebSocket: who may open it, its bounded send queue, and its end.

A socket holds no thread and no database connection; a peer that stops reading costs bounded memory for a bounded time.
"""

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from importlib import import_module
from typing import Any
from uuid import UUID

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import constant_time_compare
from prometheus_client import Counter, Gauge

from memoryhub.core.errors import HubError, describe
from memoryhub.core.models import ActorKind, Membership, Role
from memoryhub.core.viewers import Viewer, viewer_of
from memoryhub.interface.live.rights import Rights, sweeper
from memoryhub.interface.server.heads import Head
from memoryhub.interface.server.lookups import look_up
from memoryhub.interface.server.protocol import WRITE_NOW

log = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_WAITING_FRAMES = 1_000
MAX_WAITING_CHARS = 4 * 1024 * 1024
HELLO_SECONDS = 10.0
CLOSE_SECONDS = 5.0

# Private close codes (RFC 6455, 7.4.2). After 4403 the page must be reloaded; after the others, except 4400, a client
# reconnects and resumes.
BAD_MESSAGE, NOT_ALLOWED, TOO_SLOW, NO_HELLO, TOO_MANY, FAILED = 4400, 4403, 4408, 4410, 4429, 4500

SOCKETS = Gauge("memoryhub_sockets", "Open WebSockets of this process.")
_of_person: Tally[UUID] = Tally()
ENDED = Counter("memoryhub_sockets_ended_total", "WebSockets that this side has ended, by close code.", ["code"])


class PersonSocket(AsyncWebsocketConsumer):
    """One browser's connection to `…/{team}/…`. Subclasses: greet() handles the one message, leave() undoes it."""

    # Without a layer, Channels makes no channel for each socket: the process listens once (interface.live.reader).
    channel_layer_alias = "none"

    viewer: Viewer
    rights: Rights

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of this one socket."""
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._waiting_chars = 0  # of frames in the queue, and of the one that is being sent
        self._write_now: Callable[[tuple[str, ...]], int] | None = scope.get("extensions", {}).get(WRITE_NOW)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._dropped = asyncio.Event()
        self._accepted = self._greeted = False
        try:
            await super().__call__(scope, self._until_dropped(receive), send)
        finally:
            await self.disconnect(1006)

    def greet(self, text: str) -> Coroutine[Any, Any, None]:
        """What to do with the client's one message. Raises ValueError when it is not valid."""
        raise NotImplementedError

    def leave(self) -> None:
        """Unsubscribe. Idempotent."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether nothing more is sent."""
        return self._ending is not None

    async def connect(self) -> None:
        """Accept a signed-in member of the team, from our own pages only; anyone else gets 403."""
        team = self.scope["url_route"]["kwargs"]["team"]
        try:
            address = Head.of(self.scope).address
            entered = await look_up(address, lambda: enter(self.scope, team)) if is_ours(self.scope) else None
        except HubError:  # too long a head, too many handshakes from one address
            entered = None
        if entered is None:
            await super().close()  # before accept: HTTP 403
            return
        self.viewer, self.rights = entered
        if _of_person[self.viewer.actor] >= settings.SOCKETS_PER_PERSON:
            await self.accept()
            ENDED.labels(str(TOO_MANY)).inc()
            await super().close(code=TOO_MANY, reason=f"you have {settings.SOCKETS_PER_PERSON} pages open already")
            return
        _of_person[self.viewer.actor] += 1
        sweeper.add(self)
        SOCKETS.inc()
        self._accepted = True
        await self.accept()
        self._sender = self.spawn(self._send_frames())
        self.spawn(self._expect_hello())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The hello, once; everything else ends the connection."""
        if self.is_over:
            return
        if text_data is None or self._greeted:
            self.end(BAD_MESSAGE, "one text message is expected, no more")
            return
        self._greeted = True
        try:
            self.spawn(self.greet(text_data))
        except ValueError:
            self.end(BAD_MESSAGE, "the message is not valid")

    async def disconnect(self, code: int) -> None:
        """The connection has ended, from either side. Idempotent."""
        if self._accepted:
            self._accepted = False
            SOCKETS.dec()
            _of_person[self.viewer.actor] -= 1
            if not _of_person[self.viewer.actor]:
                del _of_person[self.viewer.actor]
            self._forget()
        for task in (*self._tasks, self._ending):
            if task is not None:
                task.cancel()
        self._frames = asyncio.Queue()  # Channels' consumers are in reference cycles, which would keep the queue

    def revoke(self) -> None:
        """End the connection: its rights have changed."""
        self.end(NOT_ALLOWED, "your access has changed")

    def put(self, *frames: str) -> None:
        """Queue frames. A socket whose queue is full is ended: it may reconnect and resume."""
        if self.is_over:
            return
        # What many sockets are sent: with a task's turn for each of them it takes three times as long.
        if not self._waiting_chars and self._write_now is not None:
            frames = frames[self._write_now(frames) :]
        for frame in frames:
            self._waiting_chars += len(frame)
            if self._waiting_chars > MAX_WAITING_CHARS or self._frames.qsize() >= MAX_WAITING_FRAMES:
                self.end(TOO_SLOW, "too slow: connect again and resume")
                return
            self._frames.put_nowait(frame)

    async def room(self) -> None:
        """Wait while the queue is more than half full, for what can be sent at the client's own speed."""
        # Polled: an event would be set for each frame of each socket.
        while self._waiting_chars > MAX_WAITING_CHARS // 2 or self._frames.qsize() > MAX_WAITING_FRAMES // 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def end(self, code: int, reason: str) -> None:
        """Close from the server's side. Nothing more is sent, not even what is queued."""
        if self.is_over:
            return
        ENDED.labels(str(code)).inc()
        if self._sender is not None:
            self._sender.cancel()  # it may be about to write a frame
        self._frames, self._waiting_chars = asyncio.Queue(), 0
        self._forget()
        self._ending = asyncio.create_task(self._close(code, reason))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task for as long as the socket lives. A failed task ends it: a silent socket would be worse."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None or isinstance(error, OSError):
            return  # OSError: the client disconnected during a write
        log.error("socket_failed", **describe(error))
        self.end(FAILED, "connect again and resume")

    def _forget(self) -> None:
        sweeper.discard(self)
        self.leave()

    async def _send_frames(self) -> None:
        while True:
            frame = await self._frames.get()
            await self.send(text_data=frame)
            self._waiting_chars -= len(frame)

    async def _expect_hello(self) -> None:
        await asyncio.sleep(HELLO_SECONDS)
        if not self._greeted:
            self.end(NO_HELLO, "no message came")

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            await asyncio.wait_for(super().close(code=code, reason=reason), CLOSE_SECONDS)
            return
        self._dropped.set()  # the server cannot even write the close frame: the peer reads nothing

    def _until_dropped(self, receive: Receive) -> Receive:
        """`receive` that also returns, as if the client had disconnected, once the server has given it up."""

        async def receive_or_end() -> Message:
            coming, dropped = asyncio.ensure_future(receive()), asyncio.ensure_future(self._dropped.wait())
            try:
                await asyncio.wait((coming, dropped), return_when=asyncio.FIRST_COMPLETED)
                return coming.result() if coming.done() else {"type": "websocket.disconnect", "code": 1006}
            finally:
                coming.cancel()
                dropped.cancel()

        return receive_or_end


def is_ours(scope: Scope) -> bool:
    """Whether the handshake comes from a page of this host: browsers always send Origin, and it is required."""
    origins, hosts = _header(scope, b"origin"), _header(scope, b"host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    if origins[0] in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(hosts[0])
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    secure = settings.HTTPS or scope.get("scheme") == "wss"
    return origins[0] == f"{'https' if secure else 'http'}://{hosts[0]}"


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for found, value in scope["headers"] if found.lower() == name]


def enter(scope: Scope, team: str) -> tuple[Viewer, Rights] | None:
    """The viewer of the session's person in this team, and the rights it rests on; None when there is none."""
    session_key = scope.get("cookies", {}).get(settings.SESSION_COOKIE_NAME)
    if not session_key:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    person = session.get(SESSION_KEY)
    if not person or session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    members = Membership.objects.select_related("actor", "team").filter(
        actor_id=person, team__slug=team, is_active=True, actor__is_active=True, actor__kind=ActorKind.HUMAN
    )
    member = members.exclude(role__in=[Role.AGENT, Role.SYSTEM]).first()
    if member is None or member.actor.must_change_password:
        return None
    if not constant_time_compare(session.get(HASH_SESSION_KEY, ""), member.actor.get_session_auth_hash()):
        return None
    viewer = viewer_of(member)
    # All from one read: the sweep finds what changes after it.
    return viewer, Rights(viewer, session=session_key, password=member.actor.password)
