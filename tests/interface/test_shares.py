"""Threads are shared: who computes for long rests beside others, and alone does not (part of I21)."""

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from memoryhub.interface.server.shares import ALONE_SECONDS, Shares

WORK = 0.05  # seconds of the processor


async def _waited(shares: Shares, caller: str) -> float:
    """How long this caller waits for a place, which it keeps."""
    begun = time.monotonic()
    await asyncio.wait_for(shares.take(caller), 5)
    return time.monotonic() - begun


async def _worked(shares: Shares, caller: str) -> None:
    await shares.take(caller)
    shares.give(caller, seconds=WORK)


def _run(test: Coroutine[Any, Any, None]) -> None:
    with ThreadPoolExecutor(1) as threads:  # in this one, the browser of an earlier test may have a loop
        threads.submit(asyncio.run, test).result()


def test_who_computed_for_long_rests_beside_others_and_its_place_is_theirs() -> None:
    async def both() -> None:
        shares = Shares(1)
        await shares.take("seldom")
        shares.give("seldom")
        await _worked(shares, "often")
        assert await _waited(shares, "seldom") < WORK / 2
        shares.give("seldom")
        assert await _waited(shares, "often") > WORK

    _run(both())


def test_who_is_alone_rests_not_and_who_computes_little_neither() -> None:
    async def alone() -> None:
        shares = Shares(1)
        await _worked(shares, "gone")
        await asyncio.sleep(ALONE_SECONDS)
        await _worked(shares, "often")
        await asyncio.sleep(ALONE_SECONDS)
        for _ in range(3):
            await _worked(shares, "often")
            assert await _waited(shares, "often") < WORK / 2
            shares.give("often")
        await _worked(shares, "other")
        await shares.take("often")
        shares.give("often", seconds=0.001)
        assert await _waited(shares, "often") < WORK / 2

    _run(alone())


def test_who_leaves_while_waiting_holds_nothing() -> None:
    async def leaves() -> None:
        shares = Shares(1)
        await shares.take("first")
        left = asyncio.create_task(shares.take("second"))
        await asyncio.sleep(0)
        assert shares.waiting == 1
        left.cancel()
        await asyncio.wait([left])
        assert shares.waiting == 0
        shares.give("first")
        assert await _waited(shares, "third") < 0.05

    _run(leaves())
