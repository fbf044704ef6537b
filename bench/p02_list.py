"""P2: GET 50 observations of a task, through row-level security; 16 connections."""

from bench.contest import contest
from bench.load import encode
from bench.measure import Length, Result
from bench.stack import Stack

WHAT = "GET 50 observations"


def measure(stack: Stack, length: Length) -> Result:
    """Goals: at least 3 times as fast as the stock endpoint, and as fast as FastAPI."""
    return contest(
        stack,
        length,
        name="p2",
        what="GET 50 observations",
        encode=_get,
        status=200,
        observations=200,
        goals=(3.0, 1.0),
    )


def _get(port: int, key: str, prefix: str, task: str) -> bytes:
    return encode("GET", f"{prefix}/observations?task={task}&limit=50", port, key)
