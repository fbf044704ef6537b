"""The statements of the hot paths: prepared once a connection, bound by the server; several may share a round trip."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import psycopg
from django.db import connection

# psycopg's own loader for times, in C. Django puts one in Python before it, which costs a page more than all else.
_TIMES = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)

Params = Sequence[Any] | Mapping[str, Any]


def run(statement: str, params: Params = (), *, many: bool = False) -> list[tuple[Any, ...]]:
    """Execute one statement and return its rows. `many`: expected, so that it pays to prepare for them.

    Raises Django's database errors.
    """
    return _execute(statement, params, pipelined=False, many=many)


def run_first(statement: str, params: Params = ()) -> list[tuple[Any, ...]]:
    """As run(), for the first statement of a transaction: BEGIN travels with it."""
    return _execute(statement, params, pipelined=True, many=False)


def _execute(statement: str, params: Params, *, pipelined: bool, many: bool) -> list[tuple[Any, ...]]:
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    if connection.queries_logged:
        # Tests count queries; what goes past Django's cursor is counted, too.
        connection.queries_log.append({"sql": statement, "time": "0"})
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(raw)
        if many and _TIMES is not None:
            cursor.adapters.register_loader("timestamptz", _TIMES)
        with raw.pipeline() if pipelined else nullcontext():
            cursor.execute(statement, params, prepare=True)
        return cursor.fetchall() if cursor.description else []
