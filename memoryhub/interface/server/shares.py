"""Fair shares of places: a frequent caller waits behind a rare one, and none can hold all of them."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

# A caller's share, as a multiple of the places that are free: while it is alone, and beside others.
ALONE, BESIDE = 0.2, 0.06
ALONE_SECONDS = 0.25  # without another caller
# A place that is held for so long usually waits for something: beside others it no longer counts against its caller.
WAITS_SECONDS = 1.0
# Beside others, work that took so much CPU time counts as held for so many times that afterwards.
LONG_SECONDS, REST = 0.002, 2.0
LOOK_SECONDS = 0.1  # how often the shares are checked again, while somebody waits


class Shares:
    """A number of places, shared by callers on one event loop.

    A caller gets another place while it holds less than a share of those that are free (dynamic thresholds, Choudhury
    and Hahne, 1998): alone it gets three of sixteen, beside others one, so that the next caller finds one free. Those
    that wait are served round robin, a place each. The shares are small, since computing threads share one processor;
    beside others, a caller that computes for long gets a third of it: it rests in between, and its place is free then.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: dict[Hashable, list[float]] = {}  # since when; the latest last
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0
        self._last: Hashable = None  # who came last, and until when it counts as being beside others
        self._beside_until = 0.0
        self._is_looking = False

    def waiting_of(self, caller: Hashable) -> int:
        """How many requests of this caller wait."""
        return len(self._waiting.get(caller, ()))

    async def take(self, caller: Hashable) -> None:
        """Take a place, and wait for it if needed. Cancelled, it holds none."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if caller != self._last:
            self._last, self._beside_until = caller, now + ALONE_SECONDS
        if caller not in self._waiting and self._allows(caller, now):
            self._hold(caller, now)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        self._look_soon(loop)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._withdraw(caller, turn)
            else:
                self.give(caller)  # it was granted at this very moment
            raise

    def give(self, caller: Hashable, *, seconds: float = 0.0) -> None:
        """Return a place, for the next caller. `seconds`: the CPU time of its work."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._free += 1
        if seconds > LONG_SECONDS and now < self._beside_until:
            self._held[caller][-1] = now
            loop.call_later(REST * seconds, self._drop, caller)
            self._serve()
        else:
            self._drop(caller)

    def _drop(self, caller: Hashable) -> None:
        held = self._held[caller]
        held.pop()
        if not held:
            del self._held[caller]
        self._serve()

    def _serve(self) -> None:
        if not self.waiting:
            return
        now = asyncio.get_running_loop().time()
        while (following := self._next(now)) is not None:
            turns = self._waiting[following]
            turn = turns.popleft()
            self.waiting -= 1
            if turns:
                self._waiting.move_to_end(following)
            else:
                del self._waiting[following]
            if not turn.done():
                self._hold(following, now)
                turn.set_result(None)

    def _look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(LOOK_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = False
        self._serve()
        if self.waiting:
            self._look_soon(loop)

    def _allows(self, caller: Hashable, now: float) -> bool:
        held = self._held.get(caller, ())
        if len(held) >= ALONE * self._free:
            return False
        if now >= self._beside_until:
            return True
        return sum([now - since < WAITS_SECONDS for since in held]) < BESIDE * self._free

    def _hold(self, caller: Hashable, now: float) -> None:
        self._free -= 1
        self._held.setdefault(caller, []).append(now)

    def _next(self, now: float) -> Hashable | None:
        return next((caller for caller in self._waiting if self._allows(caller, now)), None) if self._free else None

    def _withdraw(self, caller: Hashable, turn: "asyncio.Future[None]") -> None:
        turns = self._waiting.get(caller)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self.waiting -= 1
            if not turns:
                del self._waiting[caller]
