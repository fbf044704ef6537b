"""A server that hangs while its machine answers is given up: its own limits hang with it, and end nothing."""

from functools import partial
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import _WaitTimeout

MARGIN_SECONDS = 5  # beyond the limit that the server itself has for a statement


def limit(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Bound each wait of a new connection (a receiver of Django's connection_created); for what people wait for.

    Past STATEMENT_SECONDS and the margin the connection is closed, and psycopg.OperationalError is raised.
    """
    raw = connection.connection
    raw.wait = partial(_wait, raw, raw.wait)


def _wait(raw: psycopg.Connection[Any], wait: Any, *args: Any, **options: Any) -> Any:
    if options.get("timeout") is not None:
        return wait(*args, **options)
    try:
        return wait(*args, **options, timeout=settings.STATEMENT_SECONDS + MARGIN_SECONDS)
    except _WaitTimeout:
        raw.pgconn.finish()  # what still came would be taken for the answer to another question
        raise psycopg.OperationalError("the server gave no answer in time") from None
