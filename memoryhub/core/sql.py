"""The statements of the hot paths: prepared once a connection, bound by the server; several may share a round trip."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import psycopg
from django.db import connection

Params = Sequence[Any] | Mapping[str, Any]


def run(statement: str, params: Params = ()) -> list[tuple[Any, ...]]:
    """Execute one statement and return its rows. Raises Django's database errors."""
    return _execute(statement, params, pipelined=False)


def run_first(statement: str, params: Params = ()) -> list[tuple[Any, ...]]:
    """As run(), for the first statement of a transaction: BEGIN travels with it."""
    return _execute(statement, params, pipelined=True)


def _execute(statement: str, params: Params, *, pipelined: bool) -> list[tuple[Any, ...]]:
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    if connection.queries_logged:
        # Tests count queries; what goes past Django's cursor is counted, too.
        connection.queries_log.append({"sql": statement, "time": "0"})
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(raw)
        with raw.pipeline() if pipelined else nullcontext():
            cursor.execute(statement, params, prepare=True)
        return cursor.fetchall() if cursor.description else []
