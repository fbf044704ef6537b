"""The rate limit of keys: a token bucket per key, in this process.

The generic cell rate algorithm (ITU-T I.371): the only state of a key is when its bucket is full again, and a full
bucket is dropped. Valkey is not involved, so that losing it loses nothing and a request pays no round trip: each web
process counts for itself.
"""

import math
import threading
import time
from functools import lru_cache
from uuid import UUID

from django.conf import settings

from memoryhub.core.errors import RateLimited
from memoryhub.core.viewers import Viewer

WINDOW_SECONDS = 10  # until an empty bucket is full again
SWEEP_AT = 1024  # keys


class Buckets:
    """The buckets of recently used keys. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._full_at: dict[UUID, float] = {}
        self._sweep_at = SWEEP_AT
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: UUID, size: int, interval: float, now: float) -> tuple[float, bool]:
        """Take a token from a bucket of `size` that gains one every `interval` seconds. Returns when it is full again,
        and whether there was a token. A refused request takes none.
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
    """The bucket's size, the seconds per token, and the RateLimit-Policy header."""
    interval = 60 / per_minute
    size = max(1, int(WINDOW_SECONDS / interval))
    return size, interval, f'"default";q={size};w={math.ceil(size * interval)}'


def spend(viewer: Viewer) -> dict[str, str]:
    """Count a request of the viewer's key, and return the response's rate-limit headers.

    As in draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` with the quota `q` per `w` seconds; `RateLimit`
    with the remaining requests `r`, and the seconds `t` until the quota is full again.
    Raises RateLimited with the same headers, and Retry-After.
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
    refusal = RateLimited(f"This key may make {per_minute} requests per minute.", retry_after=wait)
    refusal.headers |= headers
    raise refusal
