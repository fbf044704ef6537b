"""GET /api/v1/escalations/{id}/answer: a long poll that, while it waits, holds no thread and no database connection."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from agents.authentication import authenticate
from agents.limits import spend
from escalations import selectors
from escalations.answers import Answer
from memoryhub.core.errors import HubError, MethodNotAllowed, RateLimited, Unauthorized
from memoryhub.core.failures import describe
from memoryhub.core.threads import in_thread
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.verbs import require_scope
from memoryhub.core.viewers import Viewer
from memoryhub.interface.headers import check_address
from memoryhub.interface.health import count
from memoryhub.interface.json import dump
from memoryhub.interface.live import LiveEvent, live
from memoryhub.interface.middleware import request_id_from
from memoryhub.interface.params import Params
from memoryhub.interface.problems import error_of, problem
from memoryhub.interface.rights import Rights, sweeper

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, dict[str, str], bytes]

MAX_WAIT_SECONDS = 60
WAITS_PER_KEY = 8
DOOR = "api/v1/escalations/<uuid:escalation_id>/answer"

log = structlog.get_logger("memoryhub.request")

_waits: Counter[UUID] = Counter()


class Waiter:
    """Wakes one long poll when something happens to its escalation, or to the rights it rests on."""

    task = None
    render = None

    def __init__(self, viewer: Viewer, escalation_id: UUID) -> None:
        self.viewer, self.rights, self.escalation_id = viewer, Rights(viewer), escalation_id
        self.woken = asyncio.Event()
        self.revoked = False

    def hear(self, event: LiveEvent, frame: Any) -> None:
        """Wake when it is about the escalation."""
        if event.row_id == self.escalation_id:
            self.woken.set()

    def beat(self, seq: int) -> None:
        """Nothing to do."""

    def revoke(self) -> None:
        """Wake to look a last time, with the key as it is now."""
        self.revoked = True
        self.woken.set()


async def answer(scope: Scope, receive: Receive, send: Send, escalation_id: UUID) -> None:
    """Wait for the answer: 200 with it, at once when it is there; 204 when there is none after `wait` seconds (0..60).

    What happens meanwhile wakes the request, and rights are asked anew before it answers. A key may wait 8 times at
    once (429).
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    request_id = request_id_from(headers.get("x-request-id"))
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        started = time.perf_counter()
        answering = asyncio.create_task(_answer(scope, headers, request_id, escalation_id))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                status, sent, body = answering.result()
                _note(scope, status, time.perf_counter() - started)
                await _send(send, status, {**sent, "X-Request-Id": request_id}, body)
        finally:
            answering.cancel()
            gone.cancel()


def _note(scope: Scope, status: int, seconds: float) -> None:
    """As the middleware does for other requests; the time, which is mostly waiting, is not in the histogram."""
    count(DOOR, scope["method"], status)
    log.info("request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 1))


async def _answer(scope: Scope, headers: dict[str, str], request_id: str, escalation_id: UUID) -> Reply:
    limits: dict[str, str] = {}
    try:
        found = await _wait(scope, headers, request_id, escalation_id, limits)
    except Exception as error:
        if not isinstance(error, HubError):
            log.error("failed", **describe(error))
        status, told, body = problem(error_of(error), request_id)
        return status, {**limits, **told}, body
    if found is None:
        return 204, {"Cache-Control": "no-store", **limits}, b""
    return 200, {"Content-Type": "application/json", "Cache-Control": "no-store", **limits}, dump(found)


async def _wait(
    scope: Scope, headers: dict[str, str], request_id: str, escalation_id: UUID, limits: dict[str, str]
) -> Answer | None:
    is_secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto") if settings.HTTPS else None)
    check_address(headers.get("host", ""), is_secure=is_secure)
    if scope["method"] != "GET":
        raise MethodNotAllowed("This method is not for this address.", headers={"Allow": "GET"})
    if sum(name.lower() == b"authorization" for name, _ in scope["headers"]) > 1:
        raise Unauthorized("Send one Authorization header.")
    key = headers.get("authorization")
    viewer = await in_thread(lambda: authenticate(key, request_id))
    limits |= spend(viewer)
    require_scope(viewer, "escalations")
    params = Params(scope["query_string"], {"wait", "dialect"})
    seconds = params.integer("wait", low=0, high=MAX_WAIT_SECONDS) or 0
    params.choice("dialect", ("hub",))

    async def look() -> Answer | None:
        # The key is asked again each time, as for any request: what was taken away meanwhile is gone.
        return await in_thread(lambda: _look(_enter(key, request_id), escalation_id))

    if not seconds:
        return await look()
    assert viewer.credential is not None
    if _waits[viewer.credential] >= WAITS_PER_KEY:
        raise RateLimited(f"A key may wait {WAITS_PER_KEY} times at once.", retry_after=1)
    waiter = Waiter(viewer, escalation_id)
    _waits[viewer.credential] += 1
    sweeper.add(waiter)
    try:
        return await _until(waiter, look, seconds)
    finally:
        live.unsubscribe(waiter)
        sweeper.discard(waiter)
        _waits[viewer.credential] -= 1
        if not _waits[viewer.credential]:
            del _waits[viewer.credential]


async def _until(waiter: Waiter, look: Callable[[], Awaitable[Answer | None]], seconds: int) -> Answer | None:
    deadline = asyncio.get_running_loop().time() + seconds
    # Subscribed first, looked after: what happens in between wakes it.
    await live.subscribe(waiter)
    while True:
        waiter.woken.clear()
        found = await look()
        left = deadline - asyncio.get_running_loop().time()
        if found is not None or left <= 0 or waiter.revoked:
            return found
        try:
            await asyncio.wait_for(waiter.woken.wait(), left)
        except TimeoutError:
            return None


def _enter(header: str | None, request_id: str) -> Viewer:
    viewer = authenticate(header, request_id)
    require_scope(viewer, "escalations")
    return viewer


def _look(viewer: Viewer, escalation_id: UUID) -> Answer | None:
    with viewer_transaction(viewer, read_only=True):
        return selectors.answer_of(viewer, escalation_id)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    if status != 204:
        encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
