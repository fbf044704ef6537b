"""Waiting for what happens elsewhere, and what is said of times that were measured."""

import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def wait_until(is_so: Callable[[], R], seconds: float = 20) -> R:
    """What `is_so` returns as soon as it is true. Raises AssertionError when that takes longer."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
    return found


def percentile(delays: list[float], part: float) -> float:
    """The delay that this part of them does not exceed; 0.5: the median."""
    return sorted(delays)[int(len(delays) * part)]
