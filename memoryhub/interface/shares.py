"""Places that callers share: who comes often waits behind who comes seldom, and nobody can hold all of them."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

SHARE = 2  # a caller may hold up to so many times the places that are free


class Shares:
    """So many places. Used on one event loop.

    A caller gets one more while it holds less than SHARE times those that are free (dynamic thresholds, Choudhury and
    Hahne, 1998): alone it gets two thirds of all, and whoever comes next finds one free at once. Who has to wait is
    served in turns, a place each.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0

    def waiting_of(self, caller: Hashable) -> int:
        """How many of this caller's wait."""
        return len(self._waiting.get(caller, ()))

    async def take(self, caller: Hashable) -> None:
        """Get a place, and wait for it where need be. Cancelled, it holds none."""
        if caller not in self._waiting and self._allows(caller):
            self._hold(caller)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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

    def give(self, caller: Hashable) -> None:
        """Give a place back, to whoever is next."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
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

    def _allows(self, caller: Hashable) -> bool:
        return self._held[caller] < SHARE * self._free

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
