"""Short database queries from the event loop, few at a time and fair to callers: to identify a caller before anything
costly is done for it, and the reads of long polls, streams and sockets.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from memoryhub.core.db.threads import in_thread
from memoryhub.core.errors import RateLimited
from memoryhub.interface.server.shares import Shares

R = TypeVar("R")

THREADS, AT_ONCE = 4, 3  # for short queries; of them, for callers that are not known yet
WAITING = 256  # of one address

_places = Shares(AT_ONCE)
_readers = Shares(THREADS)


async def look_up(address: str, function: Callable[[], R]) -> R:
    """Run a short query for a client that is not known yet. Raises RateLimited."""
    if _places.waiting_of(address) >= WAITING:
        raise RateLimited("Too many concurrent requests of unknown clients from this address.")
    await _places.take(address)
    try:
        return await in_thread(function)
    finally:
        _places.give(address)


async def read_for(caller: Hashable, function: Callable[[], R]) -> R:
    """Run a read of a long poll, stream or socket: each caller has one of the threads, and rests after long work.

    Cancelled, it still holds its place until the thread is free.
    """
    await _readers.take(caller)
    seconds = 0.0

    def timed() -> R:
        nonlocal seconds
        before = time.thread_time()
        try:
            return function()
        finally:
            seconds = time.thread_time() - before

    def give(done: asyncio.Future[R]) -> None:
        _readers.give(caller, seconds=seconds)
        if not done.cancelled():
            done.exception()  # retrieved, in case nobody waits any more

    running = asyncio.ensure_future(in_thread(timed))
    running.add_done_callback(give)
    return await asyncio.shield(running)
