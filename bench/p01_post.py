"""P1: POST one observation over HTTP: key, validation, row-level security, ledger; 16 connections."""

from bench.contest import SAME, STOCK, contest
from bench.load import encode
from bench.measure import Length, Result
from bench.seed import OBSERVATION
from bench.stack import Stack

WHAT = "POST one observation"


def measure(stack: Stack, length: Length) -> Result:
    """Goals: at least 2.5 times as fast as the stock endpoint, and as fast as FastAPI that does the same work."""
    return contest(
        stack,
        length,
        name="p1",
        what="POST one observation",
        encode=_post,
        status=201,
        observations=10,
        goals={STOCK: 2.5, SAME: 1.0},
    )


def _post(port: int, key: str, prefix: str, task: str) -> bytes:
    return encode("POST", f"{prefix}/observations", port, key, {"task": task, **OBSERVATION})
