"""Threads that answer requests: one hand-over to a thread, and one back to the event loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import Any, TypeVar

from memoryhub.core.errors import Unavailable
from memoryhub.interface.server.shares import Shares

R = TypeVar("R")

OTHERS_TIMES = 4  # a caller of whom none waits may queue up to so many times the limit: no one fills it for all


class Threads:
    """Threads of one event loop, shared by callers, begun as they are needed: each keeps a database connection.

    `count`: how many; `queue`: how many callers may wait; `nice`: the threads' niceness (nice(2)). A plain queue and a
    plain future: `run_in_executor` makes two futures, a lock and a condition for each call.
    """

    def __init__(self, name: str, count: int, *, queue: int | None = None, nice: int = 0) -> None:
        self.places, self.queue = Shares(count), queue
        self._name, self._count, self._nice = name, count, nice
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._begun = self._busy = 0

    async def take(self, caller: Hashable) -> None:
        """Wait for a thread. Raises Unavailable when too many wait; sooner for a caller that waits already."""
        waiting = self.places.waiting
        if self.queue and waiting >= self.queue * (1 if self.places.waiting_of(caller) else OTHERS_TIMES):
            raise Unavailable("Too many requests of this kind are waiting. Try again in a few seconds.", retry_after=5)
        await self.places.take(caller)

    def run(self, function: Callable[..., R], *args: Any) -> "asyncio.Future[R]":
        """What the function returns, or raises, on a thread. Cancelled, it runs to its end all the same."""
        if self._busy == self._begun < self._count:
            threading.Thread(target=self._work, name=f"{self._name}_{self._begun}", daemon=True).start()
            self._begun += 1
        self._busy += 1
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._calls.put((done, function, args))
        return done

    def _work(self) -> None:
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)  # of a thread, on Linux
        while True:
            self._call(*self._calls.get())  # in a frame of its own, which keeps nothing while the thread waits

    def _call(self, done: "asyncio.Future[Any]", function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            tell, result = done.set_result, function(*args)
        except BaseException as error:
            tell, result = done.set_exception, error
        loop = done.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._tell, done, tell, result)

    def _tell(self, done: "asyncio.Future[Any]", tell: Callable[[Any], None], result: Any) -> None:
        self._busy -= 1
        if not done.cancelled():
            tell(result)
