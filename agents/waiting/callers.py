"""Callers, identified on the event loop before a thread is taken, and the bounds on their requests in flight.

A key or a session is looked up once and then counts as known for a minute, for counting only: each request is still
authenticated by its door. An unknown one counts as its address, so that made-up keys gain nothing.
"""

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Literal, NamedTuple

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import DatabaseError, InterfaceError

from agents.authentication import is_good
from agents.keys import digest_of
from memoryhub.core.errors import RateLimited
from memoryhub.interface.pages.browsers import browser_of
from memoryhub.interface.server.heads import Head
from memoryhub.interface.server.lookups import look_up

KNOWN_SECONDS = 60.0
MAX_KNOWN = 10_000
_LOOKED_UP = ("key", "session")
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 10.0  # by which a refusal is delayed


class Caller(NamedTuple):
    """A key by its digest, a session by its id, a browser in which somebody has signed in before, or an address;
    `static`: an address that requests static files.
    """

    kind: Literal["key", "session", "browser", "address", "static"]
    name: bytes | str

    @property
    def limit(self) -> int:
        """The maximum number of requests in flight."""
        if self.kind == "session":
            return int(settings.IN_FLIGHT_PER_SESSION)
        if self.kind in ("address", "browser"):
            return int(settings.IN_FLIGHT_PER_ADDRESS)
        return int(settings.IN_FLIGHT_PER_KEY)


class Callers:
    """A cache of known callers."""

    def __init__(self) -> None:
        self._known: OrderedDict[Caller, float] = OrderedDict()  # until when
        self._lookups: dict[Caller, asyncio.Task[bool]] = {}

    async def find(self, head: Head) -> Caller:
        """The caller of a request. Raises RateLimited for too many unknown ones from one address."""
        caller = _claimed(head)
        if caller.kind not in _LOOKED_UP:
            return caller
        if self._known.get(caller, 0.0) > time.monotonic() or await self.is_known(head, caller):
            return caller
        return _stranger(head)

    async def is_known(self, head: Head, caller: Caller) -> bool:
        """Look up now whether the key is valid, or the session signed in. Raises RateLimited."""
        if caller.kind not in _LOOKED_UP:
            return False
        lookup = self._lookups.get(caller)
        if lookup is None:
            lookup = self._lookups[caller] = asyncio.create_task(self._look(head.address, caller))
            lookup.add_done_callback(lambda _: self._lookups.pop(caller, None))
        return await asyncio.shield(lookup)

    async def _look(self, address: str, caller: Caller) -> bool:
        question: Callable[[], bool] = partial(_is_session if caller.kind == "session" else is_good, caller.name)  # type: ignore[arg-type]  # as its kind says
        try:
            known = await look_up(address, question)
        except (DatabaseError, InterfaceError):
            return True  # the door will report that the database is away
        if known:
            self._known[caller] = time.monotonic() + KNOWN_SECONDS
            self._known.move_to_end(caller)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        else:
            self._known.pop(caller, None)
        return known


def _claimed(head: Head) -> Caller:
    """The caller that the request claims to be."""
    scheme, _, key = head.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and (digest := _digest(key)):
        return Caller("key", digest)
    if b"cookie" in head.headers and (session := head.cookies.get(settings.SESSION_COOKIE_NAME)):
        return Caller("session", session)
    return _stranger(head)


def _stranger(head: Head) -> Caller:
    if head.scope["path"].startswith(settings.STATIC_URL):
        return Caller("static", head.address)
    # Else one client behind a shared address could keep all others there from signing in.
    browser = browser_of(head.cookies) if b"cookie" in head.headers else None
    return Caller("browser", browser) if browser else Caller("address", head.address)


_digests: OrderedDict[bytes, bytes] = OrderedDict()  # of keys, by a hash of them that is faster than their checksum


def _digest(key: bytes) -> bytes | None:
    quick = hashlib.blake2b(key, digest_size=16).digest()
    digest = _digests.get(quick)
    if digest is None:
        digest = digest_of(key.decode("latin-1"))
        if digest is not None:
            _digests[quick] = digest
            if len(_digests) > MAX_KNOWN:
                _digests.popitem(last=False)
    return digest


def _is_session(key: str) -> bool:
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return SESSION_KEY in store


class Refusals:
    """Delays refusals of too many requests: a client that retries immediately would cost more refused than served."""

    def __init__(self) -> None:
        self._held: Counter[Caller] = Counter()

    async def hold(self, caller: Caller, pause: Callable[[float], Awaitable[bool]]) -> bool:
        """Wait by `pause`, for 0.5 to 10 s, longer the more refusals of this caller wait; returns what `pause` does."""
        self._held[caller] += 1
        try:
            return await pause(min(LONGEST_SECONDS, SHORTEST_SECONDS + self._held[caller] / 64))
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]


class InFlight:
    """The number of each caller's requests in flight."""

    def __init__(self) -> None:
        self._taken: Counter[Caller] = Counter()

    def take(self, caller: Caller) -> None:
        """Count one more. Raises RateLimited."""
        taken = self._taken[caller]
        if taken >= caller.limit:
            who = {"key": "A key", "session": "A session"}.get(caller.kind, "An address without a key or a session")
            raise RateLimited(f"{who} may have {caller.limit} requests in flight. Wait for a response first.")
        self._taken[caller] = taken + 1

    def give(self, caller: Caller) -> None:
        """Count one less."""
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
