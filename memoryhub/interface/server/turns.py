"""Requests with one Idempotency-Key: one at a time has a thread, a few wait on the event loop, more are refused.

Two processes may still race for one key: its unique row in the database makes one wait (core.idempotency).
"""

import asyncio
from collections.abc import Hashable

from django.conf import settings

from memoryhub.core.errors import RateLimited


class Turns:
    """The keys in use: a lock each, and how many have it or wait."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    async def take(self, key: Hashable) -> None:
        """Wait for the key's turn. Raises RateLimited when too many do. Cancelled, it has none."""
        lock, count = self._turns.get(key) or (asyncio.Lock(), 0)
        if count >= settings.WAITERS_PER_IDEMPOTENCY_KEY:
            words = f"{count} requests with this Idempotency-Key are in progress. Wait for their response."
            raise RateLimited(words, retry_after=2)
        self._turns[key] = lock, count + 1
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._leave(key)
            raise

    def give(self, key: Hashable) -> None:
        """The turn is over."""
        self._turns[key][0].release()
        self._leave(key)

    def _leave(self, key: Hashable) -> None:
        lock, count = self._turns[key]
        if count == 1:
            del self._turns[key]
        else:
            self._turns[key] = lock, count - 1
