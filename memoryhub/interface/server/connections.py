"""The open connections of this process: how many there may be, which of them are late, and what waits to be read.

Each process counts for itself. Everything here runs on the event loop, so nothing is locked.
"""

import asyncio
import resource
from collections import Counter, OrderedDict
from typing import Protocol

from django.conf import settings
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

SHARE_OF_FILES = 3, 4  # of the files that a process may open, the part that connections may take
SHARE_OF_ADDRESS = 4  # one address may have a fourth of all
TICK_SECONDS = 0.5  # how exact deadlines are
SLOWEST = 64 * 1024  # bytes a second: the time to send an answer grows with its size

OPEN = Gauge("memoryhub_connections", "Open connections of this process.")
CUT = Metric("memoryhub_connections_cut_total", "Connections that this side has cut, by reason.", ["reason"])


class Watched(Protocol):
    """A connection. `neighbour`: what counts as its address, None where it is a proxy's."""

    transport: asyncio.Transport
    neighbour: str | None
    deadline: float  # by the loop's clock, when expire() is due

    def expire(self) -> None:
        """What was awaited has not come."""

    def give_way(self) -> None:
        """Close, while nothing is served on it, since others have no place."""


class Resting:
    """Connections on which nothing is served, the longest first."""

    def __init__(self) -> None:
        self.fresh: OrderedDict[Watched, None] = OrderedDict()  # nothing ever was, or what is asked is refused
        self.kept: OrderedDict[Watched, None] = OrderedDict()

    def first(self) -> Watched | None:
        """Which is closed first where places are wanting: of the fresh ones, the oldest."""
        return next(iter(self.fresh), None) or next(iter(self.kept), None)

    def discard(self, one: Watched) -> None:
        self.fresh.pop(one, None)
        self.kept.pop(one, None)


class Connections:
    """All connections of this process."""

    def __init__(self) -> None:
        self.open: set[Watched] = set()
        self._by_address: Counter[str] = Counter()
        self._resting = Resting()
        self._resting_of: dict[str, Resting] = {}
        self._unsent: dict[Watched, tuple[int, float, float]] = {}  # bytes, since when none went, until when all must
        self._most = 0
        self._is_ticking = False

    def admit(self, one: Watched) -> bool:
        """Take a new connection in; where all places are taken, a resting one gives way. False: there is no place."""
        if not self._is_ticking:
            self._is_ticking = True
            self._most = most_connections()
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        address = one.neighbour
        place = self._has_place(address)
        if place:
            self.take(one)
            self.rest(one, fresh=True)
        return place

    def _has_place(self, address: str | None) -> bool:
        if address is not None and self._by_address[address] >= max(1, self._most // SHARE_OF_ADDRESS):
            return self._make_room(self._resting_of.get(address))
        if len(self.open) >= self._most:
            return self._make_room(self._resting)
        return True

    def _make_room(self, resting: Resting | None) -> bool:
        one = resting.first() if resting else None
        if one is None:
            return False
        self.forget(one)
        CUT.labels("full").inc()
        one.give_way()
        return True

    def take(self, one: Watched) -> None:
        """Count a connection."""
        self.open.add(one)
        if one.neighbour is not None:
            self._by_address[one.neighbour] += 1
        OPEN.set(len(self.open))

    def forget(self, one: Watched) -> None:
        """It is no more. Safe to repeat."""
        if one not in self.open:
            return
        self.open.remove(one)
        self.wake(one)
        self._unsent.pop(one, None)
        address = one.neighbour
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
                self._resting_of.pop(address, None)
        OPEN.set(len(self.open))

    def rest(self, one: Watched, *, fresh: bool = False) -> None:
        """Nothing is served on it for now. `fresh`: it is the first to give way."""
        if one not in self.open:
            return
        self.wake(one)
        lists = [self._resting]
        if one.neighbour is not None:
            lists.append(self._resting_of.setdefault(one.neighbour, Resting()))
        for resting in lists:
            (resting.fresh if fresh else resting.kept)[one] = None

    def wake(self, one: Watched) -> None:
        """Something is served on it. Safe to repeat."""
        self._resting.discard(one)
        if one.neighbour is not None and (mine := self._resting_of.get(one.neighbour)):
            mine.discard(one)

    def stalled(self, one: Watched) -> None:
        """Its reader does not keep up: what it is sent is kept for a while, and for all of them only so much.

        Past UNSENT_BYTES the one is cut that has taken nothing for longest, of the address that keeps most.
        """
        now = asyncio.get_running_loop().time()
        size = one.transport.get_write_buffer_size()
        self._unsent[one] = size, now, now + settings.SEND_SECONDS + size / SLOWEST
        sizes: Counter[str | None] = Counter()
        for each in self._unsent:
            sizes[each.neighbour] += each.transport.get_write_buffer_size()
        while sizes.total() > settings.UNSENT_BYTES:
            address = sizes.most_common(1)[0][0]
            slow = min(
                (each for each in self._unsent if each.neighbour == address), key=lambda each: self._unsent[each][1]
            )
            sizes[address] -= slow.transport.get_write_buffer_size()
            self._cut(slow, "unsent")

    def flowing(self, one: Watched) -> None:
        """Its reader keeps up again."""
        self._unsent.pop(one, None)

    def _cut(self, one: Watched, reason: str) -> None:
        self._unsent.pop(one, None)
        CUT.labels(reason).inc()
        one.transport.abort()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(TICK_SECONDS, self._tick)
        now = loop.time()
        for one in [one for one in self.open if one.deadline < now]:
            one.expire()
        for one, (before, since, until) in list(self._unsent.items()):
            size = one.transport.get_write_buffer_size()
            if size < before:
                self._unsent[one] = size, now, until
            elif now - since > settings.SEND_SECONDS:
                self._cut(one, "unread")
                continue
            if now > until:
                self._cut(one, "unread")


def most_connections() -> int:
    """CONNECTIONS, or what the system allows: the limit of open files is raised as far as it may be."""
    part, whole = SHARE_OF_FILES
    wanted = settings.CONNECTIONS * whole // part
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return int(settings.CONNECTIONS)
    return min(int(settings.CONNECTIONS), soft * part // whole)


connections = Connections()
