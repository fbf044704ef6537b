"""P2: GET 50 observations of a task, through row-level security; 16 connections."""

from bench.contest import BARE, SAME, STOCK, contest
from bench.load import encode
from bench.measure import Length, Result
from bench.stack import Stack

WHAT = "GET 50 observations"


def measure(stack: Stack, length: Length) -> Result:
    """Goals: at least 3 times as fast as the stock endpoint, 1.8 times as FastAPI that does the same work, and as fast
    as a bare one.
    """
    return contest(
        stack,
        length,
        name="p2",
        what="GET 50 observations",
        encode=_get,
        status=200,
        observations=200,
        goals={STOCK: 3.0, SAME: 1.8, BARE: 1.0},
    )


def _get(port: int, key: str, prefix: str, task: str) -> bytes:
    return encode("GET", f"{prefix}/observations?task={task}&limit=50", port, key)
