"""Looking up who asks, before anything costly is done for them: few at a time, and one address not before another."""

from collections.abc import Callable
from typing import TypeVar

from memoryhub.core.errors import RateLimited
from memoryhub.core.threads import in_thread
from memoryhub.interface.shares import Shares

R = TypeVar("R")

AT_ONCE = 3  # of the four threads for short questions
WAITING = 256  # of one address

_places = Shares(AT_ONCE)


async def look_up(address: str, function: Callable[[], R]) -> R:
    """Run a short question to the database for a client who is not known yet. Raises RateLimited."""
    if _places.waiting_of(address) >= WAITING:
        raise RateLimited("Too many who are not known yet ask from this address at once.")
    await _places.take(address)
    try:
        return await in_thread(function)
    finally:
        _places.give(address)
