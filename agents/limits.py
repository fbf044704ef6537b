"""How many requests a key may make: a bucket of tokens for each key, in this process.

The generic cell rate algorithm (ITU-T I.371): all that is kept of a key is when its bucket is full again, and a key
whose bucket is full is forgotten. Nothing is asked of Valkey, so that losing it loses nothing and a request pays no
trip: each web process counts for itself.
"""

import math
import threading
import time
from functools import lru_cache
from uuid import UUID

from django.conf import settings

from memoryhub.core.errors import RateLimited
from memoryhub.core.viewers import Viewer

WINDOW_SECONDS = 10  # how long a key must rest until it may make all its requests at once again
SWEEP_AT = 1024  # keys


class Buckets:
    """The buckets of all keys that were used a moment ago. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._full_at: dict[UUID, float] = {}
        self._sweep_at = SWEEP_AT
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: UUID, size: int, interval: float, now: float) -> tuple[float, bool]:
        """Take a token from a bucket of `size` that gets one each `interval`: when it is full again, and whether
        there was one. A refused request takes nothing.
        """
        with self._lock:
            full_at = max(self._full_at.get(key, now), now)
            if full_at + interval - now > size * interval * (1 + 1e-9):
                return full_at, False
            self._full_at[key] = full_at + interval
            if len(self._full_at) >= self._sweep_at:
                self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
                self._sweep_at = max(SWEEP_AT, 2 * len(self._full_at))
            return full_at + interval, True


_buckets = Buckets()


@lru_cache(maxsize=1000)
def _policy(per_minute: int) -> tuple[int, float, str]:
    """How many at once, the seconds between two, and how that is told."""
    interval = 60 / per_minute
    size = max(1, int(WINDOW_SECONDS / interval))
    return size, interval, f'"default";q={size};w={math.ceil(size * interval)}'


def spend(viewer: Viewer) -> dict[str, str]:
    """Count a request of the viewer's key, and return the headers that tell how many it has left.

    As of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` with the quota `q` of `w` seconds; `RateLimit`
    with the requests `r` that are left, and the seconds `t` until all of the quota is there again.
    Raises RateLimited with the same headers, and in how many seconds one more is allowed.
    """
    per_minute = viewer.rate_limit or settings.RATE_LIMIT_PER_MINUTE
    if not per_minute or viewer.credential is None:
        return {}
    size, interval, policy = _policy(per_minute)
    now = time.monotonic()
    full_at, taken = _buckets.take(viewer.credential, size, interval, now)
    left = int(size - (full_at - now) / interval + 1e-6)
    headers = {"RateLimit-Policy": policy, "RateLimit": f'"default";r={left};t={math.ceil(full_at - now)}'}
    if taken:
        return headers
    wait = max(1, math.ceil(full_at + interval - now - size * interval))
    refusal = RateLimited(f"This key may make {per_minute} requests a minute.", retry_after=wait)
    refusal.headers |= headers
    raise refusal
