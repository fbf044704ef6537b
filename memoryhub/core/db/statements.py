"""The statements of the hot paths: prepared once a connection, bound by the server, as many as may in one round trip.

`queue()` leaves a statement for the next trip; `run()` sends it with all that wait, in order. A statement whose
rows nobody needs at once costs no trip of its own. What waits when a transaction fails is discarded.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.pq import TransactionStatus

from memoryhub.core.db.pipeline import Params, Pipeline, Rows
from memoryhub.core.errors import Unconfirmed

IN_FLIGHT: dict[int, float] = {}  # by thread: since when its trip is under way, on the monotonic clock


class Statement:
    """A statement that was sent, or waits to be. `heard` is called with its rows, before anybody else has any."""

    __slots__ = ("found", "heard", "params", "text")

    def __init__(self, text: str, params: Params, heard: Callable[[Rows], None] | None = None) -> None:
        self.text, self.params, self.heard = text, params, heard
        self.found: Rows | None = None

    def rows(self) -> Rows:
        """What it found; sends it, and all that waits, unless that was done. Raises Django's database errors."""
        if self.found is None:
            flush()
        assert self.found is not None, "discarded: its transaction ended"
        return self.found


class _Here(threading.local):
    """What this thread has: statements that wait, and its connection's pipeline."""

    def __init__(self) -> None:
        self.waiting: list[Statement] = []
        self.pipeline: Pipeline | None = None


_here = _Here()


def run(text: str, params: Params = ()) -> Rows:
    """Send one statement, after all that wait, and return its rows. Raises Django's database errors, of those too."""
    return queue(text, params).rows()


def queue(text: str, params: Params = ()) -> Statement:
    """Leave a statement for the next round trip; its errors are raised then."""
    return enqueue(Statement(text, params))


def enqueue(statement: Statement) -> Statement:
    """As queue(), for a statement that was made before."""
    _here.waiting.append(statement)
    return statement


def only_pending(statement: Statement | None) -> bool:
    """Whether this statement, and no other, waits to be sent."""
    return _here.waiting == [statement]


def discard() -> None:
    """Never send what still waits: its transaction is over."""
    _here.waiting.clear()


def flush() -> None:
    """Send all that waits. Raises Django's database errors: that of the first to fail.

    Raises Unconfirmed when all of it was done, but a wait for a synchronous standby was given up.
    """
    waiting = _here.waiting
    if not waiting:
        return
    _here.waiting = []
    wrapper = connections[DEFAULT_DB_ALIAS]  # once: `connection` looks it up for each attribute
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    raw = wrapper.connection
    if wrapper.queries_logged:
        # Tests count queries; what goes past Django's cursor is counted, too. BEGIN and COMMIT are none.
        counted = [statement.text for statement in waiting if statement.text not in ("begin", "commit")]
        wrapper.queries_log.extend({"sql": text, "time": "0"} for text in counted)
    pipeline = _here.pipeline
    if pipeline is None or pipeline.raw is not raw:
        pipeline = _here.pipeline = Pipeline(raw)
    with wrapper.wrap_database_errors:
        # As psycopg does by itself before the first statement of a transaction.
        begin = wrapper.in_atomic_block and raw.pgconn.transaction_status == TransactionStatus.IDLE
        thread = threading.get_ident()
        IN_FLIGHT[thread] = time.monotonic()
        try:
            found = pipeline.exchange([(statement.text, statement.params) for statement in waiting], begin=begin)
        finally:
            del IN_FLIGHT[thread]
    if pipeline.is_unconfirmed:
        raise Unconfirmed()
    for statement, rows in zip(waiting, found, strict=True):
        statement.found = rows
        if statement.heard is not None:
            statement.heard(rows)


def flush_first(execute: Callable[..., Any], text: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Django's execute wrapper: what waits comes before a statement of the ORM, too."""
    flush()
    return execute(text, params, many, context)
