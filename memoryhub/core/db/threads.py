"""The database from the event loop: one helper, with threads that keep their connections."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

R = TypeVar("R")

# Apart from the web threads: what sockets and long polls ask is short, and must not wait behind slow requests.
_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")
# What all of them wait for (new events, the check of rights) must not wait behind a thousand that arrive at once.
_first = ThreadPoolExecutor(max_workers=2, thread_name_prefix="live-first")


async def in_thread(function: Callable[[], R], *, first: bool = False) -> R:
    """Run a synchronous function that uses the database on a thread whose connection is kept.

    `first`: on the threads kept for what serves all connections of the process at once.
    """
    return await asyncio.get_running_loop().run_in_executor(_first if first else _pool, _run, function)


def _run(function: Callable[[], R]) -> R:
    connection.close_if_unusable_or_obsolete()
    try:
        return function()
    finally:
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
