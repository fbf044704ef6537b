"""Work that a thread does for a client who may leave meanwhile: then reads and waits stop, and writes end whole.

A write that has stored its rows is committed or rolled back as if its client were there. What only reads, or waits for
somebody else, is cancelled in the database. Long loops in Python, of reads and of what comes before rows are stored,
ask check(); what a transaction has stored by then is undone with it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from memoryhub.core.errors import Unavailable

CANCEL_SECONDS = 5.0


class ClientLeft(Unavailable):
    """Nobody waits for the answer any more."""


class Work:
    """One request's work. Its thread begins it; another says that the client has left."""

    __slots__ = ("_lock", "_stoppable", "is_left")

    def __init__(self) -> None:
        self.is_left = False
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
        """Raises ClientLeft."""
        if self.is_left:
            raise ClientLeft("The client has left.")


_here = threading.local()


@contextmanager
def doing(work: Work) -> Iterator[None]:
    """What this thread does in the block is this work."""
    _here.work = work
    try:
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
    if work is None:
        yield
        return
    with work.stoppable():
        yield
