"""The database's clock, by which claims and leases end. A process's own may differ from it."""

import time
from datetime import datetime

from memoryhub.core.db.statements import run

_ahead = 0.0  # seconds, when it was last seen


def see(seconds: float) -> None:
    """The database's clock shows this, in seconds since 1970."""
    global _ahead
    _ahead = seconds - time.time()


def now_ms() -> int:
    """The database's clock, in ms since 1970; at a process's start its own."""
    return int((time.time() + _ahead) * 1000)


def now() -> datetime:
    """The database's clock at this moment, after any wait for a lock (not the transaction's start)."""
    found: datetime = run("select clock_timestamp()")[0][0]
    return found
