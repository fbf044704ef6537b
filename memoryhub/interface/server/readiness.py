"""`/healthz` and `/readyz`, on the event loop: no busy thread can delay them.

The state in `/readyz` is at most STATE_SECONDS old and is looked up once for all probes, so that a probe costs next to
nothing. A dependency that takes longer than PATIENCE_SECONDS is reported as `no answer`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import redis
import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader

from memoryhub.core.db import durability, statements
from memoryhub.core.errors import MethodNotAllowed, describe
from memoryhub.interface.http.json import dump
from memoryhub.interface.http.metrics import count
from memoryhub.interface.http.problems import problem
from memoryhub.interface.http.request_ids import request_id_from
from memoryhub.interface.server.bridge import Receive, Send
from memoryhub.interface.server.heads import Scope

log = structlog.get_logger(__name__)

STATE_SECONDS = 1.0
PATIENCE_SECONDS = 0.8
SILENT_SECONDS = 6  # beat has the worker sweep every two
# Probes per second of one address; those beyond are delayed, so that they cannot keep the loop busy.
MOST_A_SECOND, LATER_SECONDS = 20, 0.5

_LOOK = """
select array(select app || '.' || name from django_migrations), at,
       at < statement_timestamp() - make_interval(secs => %s::int)
from heartbeat where part = 'worker'
"""


class _Part:
    """The state of one dependency; looked up on a thread of its own, once for all probes."""

    def __init__(self, name: str, look: Callable[[], dict[str, str]]) -> None:
        self._name, self._look = name, look
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ready-{name}")
        self._looking: asyncio.Future[dict[str, str]] | None = None
        self._begun = 0.0

    async def state(self) -> dict[str, str]:
        """Its state, at most STATE_SECONDS old."""
        loop = asyncio.get_running_loop()
        if self._looking is None or (self._looking.done() and loop.time() - self._begun > STATE_SECONDS):
            self._begun = loop.time()
            self._looking = loop.run_in_executor(self._thread, self._look)
        left = self._begun + PATIENCE_SECONDS - loop.time()
        await asyncio.wait((self._looking,), timeout=max(left, 0))
        if not self._looking.done():
            return {self._name: "no answer"}
        if error := self._looking.exception():
            log.error("not_looked_up", part=self._name, **describe(error))
            return {self._name: "unknown"}
        return self._looking.result()


class Pace:
    """The number of each address's probes in this second."""

    def __init__(self) -> None:
        self._probes: Counter[str] = Counter()
        self._until = 0.0

    def is_too_quick(self, address: str) -> bool:
        """Count one more; returns whether that is too many."""
        now = asyncio.get_running_loop().time()
        if now > self._until:
            self._probes.clear()
            self._until = now + 1
        self._probes[address] += 1
        return self._probes[address] > MOST_A_SECOND


@cache
def _migrations() -> frozenset[str]:
    loader = MigrationLoader(None)
    return frozenset(f"{app}.{name}" for app, name in loader.disk_migrations)


def _database() -> dict[str, str]:
    try:
        connection.close_if_unusable_or_obsolete()
        found = statements.run(_LOOK, [SILENT_SECONDS])
    except Error as error:
        is_old = getattr(error.__cause__, "sqlstate", None) == "42P01"  # there is no such table (yet)
        connection.close()
        return {"database": "migrations are missing" if is_old else "unreachable"}
    if not found or _migrations() - set(found[0][0]):
        return {"database": "migrations are missing"}
    _, beaten, is_silent = found[0]
    return {"database": "ok", "worker": f"silent since {beaten:%Y-%m-%dT%H:%M:%SZ}" if is_silent else "ok"}


def _standby() -> dict[str, str]:
    try:
        connection.close_if_unusable_or_obsolete()
        state = durability.standbys()
    except Error:
        connection.close()
        return {}  # the database's state is reported already
    return {"standby": state} if state else {}


def _valkey() -> dict[str, str]:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except redis.RedisError:
        return {"valkey": "unreachable"}
    return {"valkey": "ok"}


_parts = (_Part("database", _database), _Part("standby", _standby), _Part("valkey", _valkey))


async def healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """The process responds. Checks no dependency."""
    await _answer(scope, send, 200, {"status": "ok"})


async def readyz(scope: Scope, receive: Receive, send: Send) -> None:
    """Whether it can serve: each dependency's state; 503 while the database, without which it cannot, is away.

    Without Valkey or the worker every request still works, and background work happens later; while a synchronous
    standby is away, reads still work.
    """
    body: dict[str, str] = {}
    if scope["method"] in ("GET", "HEAD"):
        for state in await asyncio.gather(*(part.state() for part in _parts)):
            body |= state
    is_ready = body.get("database") == "ok"
    await _answer(scope, send, 200 if is_ready else 503, {"status": "ready" if is_ready else "not ready", **body})


async def _answer(scope: Scope, send: Send, status: int, content: Mapping[str, str]) -> None:
    sent = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    request_id = request_id_from(sent.get(b"x-request-id"))
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    body = dump(content)
    if scope["method"] not in ("GET", "HEAD"):  # other methods are refused as everywhere else
        refusal = MethodNotAllowed("This address accepts only GET.", headers={"Allow": "GET"})
        status, headers, body = problem(refusal, request_id)
    headers |= {"Content-Length": str(len(body)), "X-Content-Type-Options": "nosniff", "X-Request-Id": request_id}
    count(scope["path"].strip("/"), scope["method"], status)
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
