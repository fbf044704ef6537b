"""The open connections of this process: their number, their deadlines, and their unsent bytes.

Each process counts for itself. Everything here runs on the event loop, without locks.
"""

import asyncio
import resource
from collections import Counter, OrderedDict
from typing import Protocol

from django.conf import settings
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

SHARE_OF_FILES = 3, 4  # of the files that a process may open, the part that connections may take
SHARE_OF_ADDRESS = 4  # one address may have a quarter of all
TICK_SECONDS = 0.5  # the resolution of deadlines
SLOWEST = 64 * 1024  # bytes per second: the time to send a response grows with its size

OPEN = Gauge("memoryhub_connections", "Open connections of this process.")
CUT = Metric("memoryhub_connections_cut_total", "Connections that this side has cut, by reason.", ["reason"])


class Watched(Protocol):
    """A connection. `neighbour`: what counts as its address, None where it is a proxy's."""

    transport: asyncio.Transport
    neighbour: str | None
    deadline: float  # by the loop's clock, when expire() is due

    def expire(self) -> None:
        """The deadline has passed."""

    def give_way(self) -> None:
        """Close this idle connection, since others have no place."""


class Resting:
    """Idle connections, the longest idle first."""

    def __init__(self) -> None:
        self.fresh: OrderedDict[Watched, None] = OrderedDict()  # never served yet, or with a request that is refused
        self.kept: OrderedDict[Watched, None] = OrderedDict()

    def first(self) -> Watched | None:
        """The one to close first when places run out: the oldest fresh one, else the oldest kept one."""
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
        self._unsent: dict[Watched, tuple[int, float, float]] = {}  # bytes, last progress, deadline
        self._most = 0
        self._is_ticking = False

    def admit(self, one: Watched) -> bool:
        """Admit a new connection; when all places are taken, an idle one gives way. False: there is no place."""
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
        """Remove a connection. Idempotent."""
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
        """Mark it idle. `fresh`: among the first to give way."""
        if one not in self.open:
            return
        self.wake(one)
        lists = [self._resting]
        if one.neighbour is not None:
            lists.append(self._resting_of.setdefault(one.neighbour, Resting()))
        for resting in lists:
            (resting.fresh if fresh else resting.kept)[one] = None

    def wake(self, one: Watched) -> None:
        """Mark it in use. Idempotent."""
        self._resting.discard(one)
        if one.neighbour is not None and (mine := self._resting_of.get(one.neighbour)):
            mine.discard(one)

    def stalled(self, one: Watched) -> None:
        """Its client does not keep up: unsent bytes are kept for a bounded time, and UNSENT_BYTES of them in all.

        Beyond that, the connection without progress for longest is cut, of the address with the most unsent bytes.
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
        """Its client keeps up again."""
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
            is_stuck = size >= before and now - since > settings.SEND_SECONDS
            if is_stuck or now > until:
                self._cut(one, "unread")
            elif size < before:
                self._unsent[one] = size, now, until


def most_connections() -> int:
    """CONNECTIONS, or what the system allows: the limit of open files (RLIMIT_NOFILE) is raised as far as possible."""
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
