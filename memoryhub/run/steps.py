"""Progress for the person at the terminal: a line when a step is done, with the seconds it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say that the step is done, or that it failed, when the block ends."""
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"  ✗ {name}", flush=True)
        raise
    print(f"  ✓ {name:<28}{time.monotonic() - begun:5.1f} s", flush=True)
