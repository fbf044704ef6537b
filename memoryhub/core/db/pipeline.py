"""Several prepared statements in one round trip, by libpq's pipeline mode (ADR 4).

psycopg's own pipeline drives each step of each statement from Python; here the whole exchange is one generator of its
low-level layer (psycopg.pq), which takes less than half of the processor's time. Values are adapted by psycopg.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import Diagnostic, error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_dumps

Params = Sequence[Any] | Mapping[str, Any]
Rows = list[tuple[Any, ...]]
Values = Sequence[Any] | None

MAX_PREPARED = 200  # statements a connection
MAX_LENGTH = 4096  # characters; a longer one (a batch) is planned each time
# A plan is kept while its table grows, until PostgreSQL analyses that, and then reads it from end to end, by whichever
# index comes first. So a connection's plans, of its functions too, are made anew: soon at first, later after so long.
FIRST_PLANS_SECONDS, PLANS_SECONDS = 0.25, 10.0
# psycopg's own loader for times, in C. Django puts one in Python before it, which costs a page more than all else.
_TIMES = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)
_PLACE = re.compile(r"%\((\w+)\)s|%s")


def _json(value: Any) -> bytes:
    """A value of jsonb as text: orjson's, and Python's own where that has none (integers past 64 bits)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


class Pipeline:
    """One connection's prepared statements, and exchanges of them with the server."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        self._prepared: dict[str, bytes] = {}  # the longest unused first
        self._made = 0
        self._plans_seconds = FIRST_PLANS_SECONDS
        self._plans_until = time.monotonic() + FIRST_PLANS_SECONDS
        self._context = psycopg.Cursor(raw)
        if _TIMES is not None:
            self._context.adapters.register_loader("timestamptz", _TIMES)
        set_json_dumps(_json, self._context)
        # Kept, with the ways of the types that they have met: finding them anew took 2 to 3 % of a request's time.
        self._values, self._loaded = Transformer(self._context), Transformer(self._context)
        self.is_unconfirmed = False  # the last exchange waited for a standby, and was cancelled (core.db.durability)
        raw.add_notice_handler(self._hear)

    def exchange(self, statements: Sequence[tuple[str, Params]], *, begin: bool) -> list[Rows]:
        """Run the statements in order, after BEGIN when asked, and return the rows of each.

        Raises psycopg.Error, that of the first to fail; those after it were not run. Outside a transaction, all of them
        are one.
        """
        # Before anything is sent: a value that cannot be adapted leaves the connection as it is.
        commands = [(text, *self._adapted(text, params)) for text, params in statements]
        self.is_unconfirmed = False
        with self.raw.lock:
            results = self.raw.wait(self._exchange(commands, begin))
        return [self._rows(result) for result in results]

    def _hear(self, notice: Diagnostic) -> None:
        # PostgreSQL tells it by no error, and by no code of its own: the transaction is committed here.
        if notice.sqlstate == "01000" and notice.severity_nonlocalized == "WARNING":
            self.is_unconfirmed = True

    def _adapted(self, text: str, params: Params) -> tuple[bytes, Values]:
        query, names = _numbered(text) if len(text) <= MAX_LENGTH else _numbered.__wrapped__(text)
        if not params:
            return query, None
        values = [params[name] for name in names or ()] if isinstance(params, Mapping) else params
        # As text and without types: the server takes them from the statement, whatever size a number happens to have.
        return query, self._values.dump_sequence(values, [PyFormat.TEXT] * len(values))

    def _exchange(self, commands: Sequence[tuple[str, bytes, Values]], begin: bool) -> PQGen[list[PGresult]]:
        pgconn = self.raw.pgconn
        fresh: list[str] = []
        is_wanted: list[bool] = []  # of each command sent, its result
        pgconn.enter_pipeline_mode()
        try:
            if begin:
                pgconn.send_query_params(b"BEGIN", None)
                is_wanted.append(False)
            if self._are_plans_old():
                pgconn.send_query_params(b"DISCARD PLANS", None)
                is_wanted.append(False)
            for text, query, values in commands:
                if len(text) > MAX_LENGTH:
                    pgconn.send_query_params(query, values)
                else:
                    name = self._prepared.pop(text, None)
                    if name is None:
                        fresh.append(text)
                        name, sent = self._prepare(query)
                        is_wanted += [False] * sent
                    self._prepared[text] = name
                    pgconn.send_query_prepared(name, values)
                is_wanted.append(True)
            pgconn.pipeline_sync()
            yield from send(pgconn)
            results: list[PGresult] = []
            for _ in is_wanted:
                results += yield from fetch_many(pgconn)
            yield from fetch_many(pgconn)  # the sync's own
        finally:
            self._leave()
        for result in results:
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                for text in fresh:  # perhaps never prepared
                    self._prepared.pop(text, None)
                raise error_from_result(result, encoding=self.raw.info.encoding)
        return [result for result, wanted in zip(results, is_wanted, strict=True) if wanted]

    def _are_plans_old(self) -> bool:
        now = time.monotonic()
        if now < self._plans_until:
            return False
        self._plans_seconds = min(2 * self._plans_seconds, PLANS_SECONDS)
        self._plans_until = now + self._plans_seconds
        return True

    def _prepare(self, query: bytes) -> tuple[bytes, int]:
        """Queue the preparing of a statement, in place of the longest unused one; its name, and how many commands."""
        sent = 1
        if len(self._prepared) >= MAX_PREPARED:
            oldest = self._prepared.pop(next(iter(self._prepared)))
            self.raw.pgconn.send_close_prepared(oldest)
            sent = 2
        self._made += 1
        name = b"hub_%d" % self._made
        self.raw.pgconn.send_prepare(name, query)
        return name, sent

    def _rows(self, result: PGresult) -> Rows:
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._loaded.set_pgresult(result)
        try:
            return self._loaded.load_rows(0, result.ntuples, tuple)
        finally:
            self._loaded.set_pgresult(None)

    def _leave(self) -> None:
        pgconn = self.raw.pgconn
        if pgconn.status != ConnStatus.OK:
            return
        try:
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError:
            pgconn.finish()  # broken off with results still to come: this connection is of no use


@lru_cache(maxsize=1000)
def _numbered(text: str) -> tuple[bytes, tuple[str, ...] | None]:
    """A statement with `$1` for `%s` and `%(name)s`, and the names in their order; None: by place."""
    places: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1] or str(len(places))
        return f"${places.setdefault(name, len(places) + 1)}"

    query = _PLACE.sub(number, text)
    return query.encode(), tuple(places) if "%(" in text else None
