"""The desk's socket: `/ws/t/{team}/queue/`. Resumes by `seq`, and sends what the process's one reader has rendered."""

import asyncio
import contextlib
import functools
from importlib import import_module
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import constant_time_compare
from msgspec import Meta

from escalations.frames import render
from memoryhub.core.errors import HubError
from memoryhub.core.failures import describe
from memoryhub.core.models import Kind, Membership, Role
from memoryhub.core.threads import in_thread
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of
from memoryhub.interface.json import dump, parse_object
from memoryhub.interface.live import PAGE, LiveEvent, live, read_events, read_head
from memoryhub.interface.rights import Rights, member_state, sweeper
from memoryhub.interface.shapes import Shape, convert

log = structlog.get_logger(__name__)

MAX_BEHIND = 10_000  # events; further behind, a fresh page is cheaper than the frames
MAX_WAITING_FRAMES = 1_000
MAX_WAITING_BYTES = 4 * 1024 * 1024
HELLO_SECONDS = 10.0
BEAT_SECONDS = 10.0

# Close codes of our own (RFC 6455, 7.4.2).
BAD_MESSAGE, FORBIDDEN, TOO_SLOW, NO_HELLO, FAILED = 4400, 4403, 4408, 4410, 4500


class Hello(Shape, kw_only=True):
    """The one message that a client sends: the `seq` of its page, and the task whose timeline it shows."""

    after: Annotated[int, Meta(ge=0, le=2**53)]
    task: UUID | None = None


class QueueConsumer(AsyncWebsocketConsumer):
    """One browser's live connection. Holds no thread and no database connection."""

    # Without a layer, Channels makes no channel for each socket: the process listens once (interface.live).
    channel_layer_alias = "none"

    viewer: Viewer
    rights: Rights
    task: UUID | None = None

    async def connect(self) -> None:
        """Accept a signed-in member of the team, from our own pages only; anyone else gets 403."""
        self._frames: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_FRAMES)
        self._bytes = 0
        self._reached = 0
        self._early: list[tuple[int, str]] | None = []  # what is heard before the gap is filled
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._greeted = False
        team = self.scope["url_route"]["kwargs"]["team"]
        entered = await in_thread(lambda: _enter(self.scope, team)) if _is_ours(self.scope) else None
        if entered is None:
            await super().close()  # before accept: HTTP 403
            return
        self.viewer, self.rights = entered
        await self.accept()
        sweeper.add(self)
        self._spawn(self._expect_hello())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The hello, once; everything else ends the connection."""
        if self._closing:
            return
        if text_data is None or self._greeted:
            self._end(BAD_MESSAGE, "one text message is expected, no more")
            return
        self._greeted = True
        try:
            hello = convert(parse_object(text_data.encode("utf-8", "surrogatepass"), max_bytes=1024), Hello)
        except HubError:
            self._end(BAD_MESSAGE, "the message is not valid")
            return
        self.task = hello.task
        self._spawn(self._serve(hello.after))

    async def disconnect(self, code: int) -> None:
        """The client has gone, or was closed."""
        self._closing = True
        live_viewer = getattr(self, "viewer", None)
        if live_viewer is not None:
            live.unsubscribe(self)
            sweeper.discard(self)
        for task in self._tasks:
            task.cancel()

    def hear(self, event: LiveEvent, frame: str | None) -> None:
        """A frame from the reader: kept until the gap before it is filled, then queued for sending."""
        if event.type == "membership.change" and event.row_id == self.viewer.membership:
            self.revoke("your access has changed")
        elif frame is None or (event.row_type != "escalation" and event.task_id != self.task):
            return  # another case's timeline
        elif event.seq <= self._reached:
            return  # the reader was behind this socket's own catching up
        elif self._early is not None:
            self._early.append((event.seq, frame))
        else:
            self._put(frame)

    def revoke(self, reason: str) -> None:
        """End the connection without sending what still waits."""
        self._end(FORBIDDEN, reason)

    def _put(self, frame: str) -> None:
        # A reader that stopped reading costs a bounded memory, and then nothing.
        self._bytes += len(frame)
        if self._closing:
            return
        if self._bytes > MAX_WAITING_BYTES or self._frames.full():
            self._end(TOO_SLOW, "too slow: connect again and resume")
            return
        self._frames.put_nowait(frame)

    async def _serve(self, after: int) -> None:
        self._spawn(self._send_frames())
        from_seq = await live.subscribe(self, render)
        head = await in_thread(self._head)
        if after > head or head - after > MAX_BEHIND:
            self._put(dump({"type": "resync", "floor": max(0, head - MAX_BEHIND)}).decode())
            self._reached = max(head, from_seq)
        else:
            self._reached = await self._catch_up(after, head)
        early, self._early = self._early or [], None
        for seq, frame in early:
            if seq > self._reached:
                self._put(frame)
        self._put(dump({"type": "ready", "seq": self._reached}).decode())
        self._spawn(self._beat())

    async def _catch_up(self, after: int, head: int) -> int:
        """Send what was missed, read through this viewer's own rights."""
        while after < head:
            frames, reached = await in_thread(functools.partial(self._missed, after))
            for frame in frames:
                if frame is not None:
                    await self._room()
                    self._put(frame)
            if reached <= after:
                break
            after = reached
        return after

    def _missed(self, after: int) -> tuple[list[str | None], int]:
        events, reached = read_events(self.viewer, after, limit=PAGE)
        watched = frozenset([self.task] if self.task else [])
        return render(system_viewer(self.viewer.team), events, watched) if events else [], reached

    def _head(self) -> int:
        with viewer_transaction(self.viewer, read_only=True):
            return read_head(self.viewer.team)

    async def _room(self) -> None:
        """While catching up, wait for a slow reader instead of dropping it."""
        while self._frames.qsize() > MAX_WAITING_FRAMES // 2 or self._bytes > MAX_WAITING_BYTES // 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _send_frames(self) -> None:
        while not self._closing:
            frame = await self._frames.get()
            self._bytes -= len(frame)
            if not self._closing:
                await self.send(text_data=frame)

    async def _beat(self) -> None:
        while not self._closing:
            await asyncio.sleep(BEAT_SECONDS)
            # Everything up to this `seq` that is for this socket stands in the queue before it.
            self._put(dump({"type": "beat", "seq": live.seq(self.viewer.team)}).decode())

    async def _expect_hello(self) -> None:
        await asyncio.sleep(HELLO_SECONDS)
        if not self._greeted:
            self._end(NO_HELLO, "no message came")

    def _end(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        live.unsubscribe(self)
        sweeper.discard(self)
        closing = asyncio.create_task(self._close(code, reason))
        _closings.add(closing)
        closing.add_done_callback(_closings.discard)

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(super().close(code=code, reason=reason), timeout=5)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A socket whose work has failed is closed, never left silent: its browser connects again and resumes."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._closing:
            log.error("socket_failed", **describe(error))
            self._end(FAILED, "connect again and resume")


_closings: set[asyncio.Task[None]] = set()


def _is_ours(scope: dict[str, Any]) -> bool:
    """Whether the handshake comes from a page of this host: browsers always send Origin, and we ask for it."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    origin, host = headers.get("origin", ""), headers.get("host", "")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    secure = settings.HTTPS or scope.get("scheme") == "wss"
    found = urlsplit(origin)
    return (found.scheme, found.netloc) == (
        "https" if secure else "http",
        host,
    ) and origin == f"{found.scheme}://{host}"


def _enter(scope: dict[str, Any], team: str) -> tuple[Viewer, Rights] | None:
    """The viewer of the session's person in this team, and on what that rests; None when there is none."""
    session_key = scope.get("cookies", {}).get(settings.SESSION_COOKIE_NAME)
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    person = session.get(SESSION_KEY)
    if not session_key or not person or session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    members = Membership.objects.select_related("actor", "team").filter(
        actor_id=person, team__slug=team, is_active=True, actor__is_active=True, actor__kind=Kind.HUMAN
    )
    member = members.exclude(role__in=[Role.AGENT, Role.SYSTEM]).first()
    if member is None:
        return None
    if not constant_time_compare(session.get(HASH_SESSION_KEY, ""), member.actor.get_session_auth_hash()):
        return None
    return viewer_of(member), Rights(member.id, member_state(member.id), session=session_key)
