"""The base of the doors on the event loop. Their requests may wait, and hold no thread and no database connection
while they do. The key is checked before anything else, errors are problems, and a client that disconnects frees what it
held.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings

from agents.authentication import authenticate
from agents.limits import spend
from memoryhub.core.access.permissions import require_scope
from memoryhub.core.errors import HubError, MethodNotAllowed, RateLimited, Unauthorized, Unavailable, describe
from memoryhub.core.ledger.lives import Ledger
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.headers import check_address
from memoryhub.interface.http.json import dump
from memoryhub.interface.http.metrics import count
from memoryhub.interface.http.problems import error_of, problem
from memoryhub.interface.http.queries import Query, params_of, read_query
from memoryhub.interface.http.request_ids import request_id_from
from memoryhub.interface.live.reader import Heard, LiveEvent, live
from memoryhub.interface.live.rights import Rights, sweeper
from memoryhub.interface.server.bridge import SMALL
from memoryhub.interface.server.lookups import read_for

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, dict[str, str], bytes]
T = TypeVar("T")
Q = TypeVar("Q", bound=Query)

MAX_WAIT_SECONDS = 60
PLACES_PER_KEY = 8  # concurrent long polls and streams
RETRY_SECONDS = 5

log = structlog.get_logger("memoryhub.request")

_taken: Counter[UUID] = Counter()


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request to a door. `scope`: ASGI's; `limits`: the response's RateLimit headers."""

    scope: Scope
    caller: Hashable
    headers: dict[str, str]
    request_id: str
    limits: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, caller: Hashable, scope: Scope) -> "WaitingRequest":
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return cls(scope, caller, headers, request_id_from(headers.get("x-request-id")))

    async def read(self, function: Callable[[], T]) -> T:
        """Run a short database query, as one of its caller's."""
        return await read_for(self.caller, function)

    def check(self) -> None:
        """Refuse, before the key is looked at, a foreign host, another method, and two keys."""
        forwarded = self.headers.get("x-forwarded-proto") if settings.HTTPS else None
        check_address(self.headers.get("host", ""), is_secure="https" in (self.scope.get("scheme"), forwarded))
        if self.scope["method"] != "GET":
            raise MethodNotAllowed("This address does not accept this method.", headers={"Allow": "GET"})
        if sum(name.lower() == b"authorization" for name, _ in self.scope["headers"]) > 1:
            raise Unauthorized("Send one Authorization header.")

    def admit(self, needed: str) -> Viewer:
        """The key's viewer, when the request arrives; counts it. On a thread. Raises as enter(), and RateLimited."""
        viewer = authenticate(self.headers.get("authorization"), self.request_id)
        self.limits.update(spend(viewer))
        require_scope(viewer, needed)
        return viewer

    def enter(self, needed: str) -> Viewer:
        """The key's viewer, as of now. Raises Unauthorized, Forbidden without the scope `needed`."""
        viewer = authenticate(self.headers.get("authorization"), self.request_id)
        require_scope(viewer, needed)
        return viewer

    def query(self, kind: type[Q]) -> Q:
        """The query. Raises Invalid, UriTooLong."""
        return read_query(params_of(self.scope["query_string"], kind), kind)

    def refusal(self, error: BaseException) -> Reply:
        """The problem for an exception; any but a HubError is logged."""
        if not isinstance(error, HubError):
            log.error("failed", **describe(error))
        status, extra, body = problem(error_of(error), self.request_id)
        return status, {**self.limits, **extra}, body


class Waiter:
    """Wakes one long poll when a wanted event comes, or when its rights have changed."""

    watch = None
    render = None

    def __init__(self, viewer: Viewer, takes: Callable[[LiveEvent], bool]) -> None:
        self.viewer, self.rights, self.takes = viewer, Rights(viewer), takes
        self.woken = asyncio.Event()
        self.revoked = False

    def overhears(self, event: LiveEvent, frame: Any) -> bool:
        """No agent does."""
        return False

    def hear(self, heard: Heard) -> None:
        """Wake when one of the events is wanted."""
        if any(self.takes(event) for event, _ in heard):
            self.woken.set()

    def beat(self, seq: int) -> None:
        """Nothing to do."""

    def fork(self, fork: int, ledger: Ledger) -> None:
        """Wake to check whether the cursor still holds."""
        self.woken.set()

    def revoke(self) -> None:
        """Wake for a last look, with the key as it is now."""
        self.revoked = True
        self.woken.set()

    async def until(self, look: Callable[[], Awaitable[T]], is_enough: Callable[[T], bool], seconds: int) -> T:
        """What `look` returns, once it `is_enough` or after `seconds`. Raises RateLimited, Unavailable."""
        deadline = asyncio.get_running_loop().time() + seconds
        with connected(self):
            # Subscribe first, then look: an event in between wakes it.
            await live.subscribe(self)
            while True:
                self.woken.clear()
                found = await look()
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or self.revoked or is_enough(found):
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.woken.wait(), left)


@contextmanager
def connected(subscriber: Any) -> Iterator[None]:
    """Take one of the key's places and watch the subscriber's rights for the block; then unsubscribe it.

    Raises RateLimited when all places are taken.
    """
    key = subscriber.viewer.credential
    if _taken[key] >= PLACES_PER_KEY:
        words = f"A key may have {PLACES_PER_KEY} concurrent waiting requests and streams."
        raise RateLimited(words, retry_after=RETRY_SECONDS)
    _taken[key] += 1
    try:
        sweeper.add(subscriber)
        yield
    finally:
        _taken[key] -= 1
        if not _taken[key]:
            del _taken[key]
        live.unsubscribe(subscriber)
        sweeper.discard(subscriber)


@asynccontextmanager
async def noted(request: WaitingRequest, door: str, status: Callable[[], int | None]) -> AsyncIterator[None]:
    """Bind the request's id to log lines; count and log the request, as the middleware does for others.

    Its time, mostly waiting, is not in the histogram. `status` None: the client disconnected before a response.
    """
    with structlog.contextvars.bound_contextvars(request_id=request.request_id):
        started = time.perf_counter()
        yield
        if (code := status()) is not None:
            seconds = time.perf_counter() - started
            method, path = request.scope["method"], request.scope["path"]
            count(door, method, code)
            log.info("request", method=method, path=path, status=code, ms=round(seconds * 1000, 1))


async def respond(
    request: WaitingRequest, receive: Receive, send: Send, door: str, answer: Callable[[WaitingRequest], Awaitable[Any]]
) -> None:
    """Serve one request with what `answer` returns, as JSON (None: 204), or the problem for what it raises.

    It is cancelled when the client disconnects. A request that still waits when the process stops gets a 503.
    """
    status: int | None = None
    async with noted(request, door, lambda: status):
        answering = asyncio.create_task(_reply(request, answer))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                status, headers, body = answering.result()
                await send_whole(send, request, (status, headers, body))
        except asyncio.CancelledError:  # the process stops
            status, headers, body = request.refusal(Unavailable("This server is stopping; try again."))
            await send_whole(send, request, (status, headers, body))
        finally:
            answering.cancel()
            gone.cancel()


async def _reply(request: WaitingRequest, answer: Callable[[WaitingRequest], Awaitable[Any]]) -> Reply:
    try:
        request.check()
        found = await answer(request)
    except Exception as error:
        return request.refusal(error)
    headers = {"Cache-Control": "no-store", **request.limits}
    if found is None:
        return 204, headers, b""
    return 200, {"Content-Type": "application/json", **headers}, dump(found)


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected, or has sent more than a GET needs (SMALL bytes)."""
    sent = 0
    while (message := await receive())["type"] != "http.disconnect" and sent <= SMALL:
        sent += len(message.get("body", b""))


async def send_whole(send: Send, request: WaitingRequest, reply: Reply) -> None:
    """Send a response in one piece."""
    status, headers, body = reply
    encoded = encode({**headers, "X-Request-Id": request.request_id})
    if status != 204:
        encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def encode(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers in ASGI's form."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
