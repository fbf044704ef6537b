"""Short questions to the database from the event loop, few at a time and one caller not before another: who asks,
before anything costly is done for them, and what long polls, streams and sockets read.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from memoryhub.core.db.threads import in_thread
from memoryhub.core.errors import RateLimited
from memoryhub.interface.server.shares import Shares

R = TypeVar("R")

THREADS, AT_ONCE = 4, 3  # for short questions; of them, for who is not known yet
WAITING = 256  # of one address

_places = Shares(AT_ONCE)
_readers = Shares(THREADS)


async def look_up(address: str, function: Callable[[], R]) -> R:
    """Run a short question to the database for a client who is not known yet. Raises RateLimited."""
    if _places.waiting_of(address) >= WAITING:
        raise RateLimited("Too many who are not known yet ask from this address at once.")
    await _places.take(address)
    try:
        return await in_thread(function)
    finally:
        _places.give(address)


async def read_for(caller: Hashable, function: Callable[[], R]) -> R:
    """Run what a long poll, a stream or a socket reads: each caller has one of the threads, and rests after long work.

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
            done.exception()  # looked at, in case that nobody waits any more

    running = asyncio.ensure_future(in_thread(timed))
    running.add_done_callback(give)
    return await asyncio.shield(running)
