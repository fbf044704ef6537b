"""Places that callers share: who comes often waits behind who comes seldom, and nobody can hold all of them."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

# A caller may hold up to so many times the places that are free: while it is alone, and beside others.
ALONE, BESIDE = 0.2, 0.06
ALONE_SECONDS = 0.25  # without another
# Beside others, a place of work that took so much of the processor counts as held for so many times that afterwards.
LONG_SECONDS, REST = 0.002, 2.0


class Shares:
    """So many places. Used on one event loop.

    A caller gets one more while it holds less than a share of those that are free (dynamic thresholds, Choudhury and
    Hahne, 1998): alone it gets three of sixteen, beside others one, and whoever comes next finds one free at once. Who
    has to wait is served in turns, a place each. So few, since threads that compute have one processor among them; of
    that, who computes for long has a third beside others, since it rests in between, while its place is free for them.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0
        self._last: Hashable = None  # who came last, and until when it counts as being beside others
        self._beside_until = 0.0

    def waiting_of(self, caller: Hashable) -> int:
        """How many of this caller's wait."""
        return len(self._waiting.get(caller, ()))

    async def take(self, caller: Hashable) -> None:
        """Get a place, and wait for it where need be. Cancelled, it holds none."""
        loop = asyncio.get_running_loop()
        if caller != self._last:
            self._last, self._beside_until = caller, loop.time() + ALONE_SECONDS
        if caller not in self._waiting and self._allows(caller):
            self._hold(caller)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._withdraw(caller, turn)
            else:
                self.give(caller)  # it was given in this very moment
            raise

    def give(self, caller: Hashable, *, seconds: float = 0.0) -> None:
        """Give a place back, to whoever is next. `seconds`: of the processor, that its work took."""
        self._free += 1
        if seconds > LONG_SECONDS and self._is_beside_others():
            asyncio.get_running_loop().call_later(REST * seconds, self._drop, caller)
            self._serve()
        else:
            self._drop(caller)

    def _drop(self, caller: Hashable) -> None:
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        self._serve()

    def _serve(self) -> None:
        while (following := self._next()) is not None:
            turns = self._waiting[following]
            turn = turns.popleft()
            self.waiting -= 1
            if turns:
                self._waiting.move_to_end(following)
            else:
                del self._waiting[following]
            if not turn.done():
                self._hold(following)
                turn.set_result(None)

    def _is_beside_others(self) -> bool:
        return asyncio.get_running_loop().time() < self._beside_until

    def _allows(self, caller: Hashable) -> bool:
        share = BESIDE if self._is_beside_others() else ALONE
        return self._held[caller] < share * self._free

    def _hold(self, caller: Hashable) -> None:
        self._free -= 1
        self._held[caller] += 1

    def _next(self) -> Hashable | None:
        return next((caller for caller in self._waiting if self._allows(caller)), None) if self._free else None

    def _withdraw(self, caller: Hashable, turn: "asyncio.Future[None]") -> None:
        turns = self._waiting.get(caller)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self.waiting -= 1
            if not turns:
                del self._waiting[caller]
