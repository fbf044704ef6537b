"""Work that a thread does for a client who may leave meanwhile: then reads and waits stop, and writes end whole.

A write that has stored its rows is committed or rolled back as if its client were there. What only reads, or waits for
somebody else, is cancelled in the database. Long loops in Python, of reads and of what comes before rows are stored,
ask check(); what a transaction has stored by then is undone with it.

All threads of a process share one interpreter lock, so there long work also gives way to short: it pauses while any
runs, for a bounded time.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from memoryhub.core.errors import Unavailable

CANCEL_SECONDS = 5.0
# Work that took so much of the processor is long, and pauses in all for at most so long. What has run for longer than
# SHORT_SECONDS waits for something, as a rule, and nobody waits for it.
LONG_SECONDS, SHORT_SECONDS = 0.01, 0.1
PAUSE_SECONDS, MOST_SECONDS = 0.002, 0.5


class ClientLeft(Unavailable):
    """Nobody waits for the answer any more."""


class Work:
    """One request's work. Its thread begins it; another says that the client has left."""

    __slots__ = ("_before", "_lock", "_patience", "_since", "_stoppable", "is_left")

    def __init__(self) -> None:
        self.is_left = False
        self._since = self._before = 0.0  # when it began, by the clock and by its thread's
        self._patience = MOST_SECONDS
        self._lock = threading.Lock()
        self._stoppable: psycopg.Connection[object] | None = None

    def leave(self) -> None:
        """The client has left. Blocks while the database is asked to cancel."""
        self.is_left = True
        # The work does not go past its block meanwhile: a cancel that came late would meet somebody else's statement.
        with self._lock:
            if self._stoppable is not None:
                self._stoppable.cancel_safe(timeout=CANCEL_SECONDS)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """See stoppable()."""
        wrapper = connections[DEFAULT_DB_ALIAS]
        wrapper.ensure_connection()
        with self._lock:
            self._stoppable = wrapper.connection
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stoppable = None

    def check(self) -> None:
        """Give way, where it is long. Raises ClientLeft."""
        if time.monotonic() - self._since > LONG_SECONDS and self._is_long():
            while self._patience > 0 and _is_any_short() and not self.is_left:
                time.sleep(PAUSE_SECONDS)
                self._patience -= PAUSE_SECONDS
        if self.is_left:
            raise ClientLeft("The client has left.")

    def _is_long(self) -> bool:
        if self in _short and time.thread_time() - self._before > LONG_SECONDS:
            del _short[self]
        return self not in _short

    @contextmanager
    def running(self) -> Iterator[None]:
        """What this thread does in the block is this work."""
        self._since, self._before = time.monotonic(), time.thread_time()
        _short[self] = self._since
        try:
            yield
        finally:
            _short.pop(self, None)


# What runs in this process and is not long, and since when.
_short: dict[Work, float] = {}


def _is_any_short() -> bool:
    now = time.monotonic()
    return any(now - since < SHORT_SECONDS for since in list(_short.values()))


_here = threading.local()


@contextmanager
def doing(work: Work) -> Iterator[None]:
    """What this thread does in the block is this work."""
    _here.work = work
    try:
        with work.running():
            yield
    finally:
        _here.work = None


def check() -> None:
    """For long loops. Raises ClientLeft when nobody waits for what this thread does."""
    work: Work | None = getattr(_here, "work", None)
    if work is not None:
        work.check()


@contextmanager
def stoppable() -> Iterator[None]:
    """A block whose statements are cancelled when the client leaves: it only reads, or waits.

    Raises ClientLeft, or Django's OperationalError (57014).
    """
    work: Work | None = getattr(_here, "work", None)
    with work.stoppable() if work is not None else nullcontext():
        yield
