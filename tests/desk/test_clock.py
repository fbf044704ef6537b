"""A page counts by the database's clock, by which claims end, whatever the clock of the process that made it."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import time_machine
from django.test import Client

SECONDS = "select extract(epoch from clock_timestamp())::float8"


def ahead(browser: Client, owner_sql: psycopg.Connection[Any]) -> float:
    """How far a page's clock is ahead of the database's, in seconds."""
    found = re.search(r'data-now="(\d+)"', browser.get("/").content.decode())
    assert found is not None
    ((seconds,),) = owner_sql.execute(SECONDS).fetchall()
    return int(found[1]) / 1000 - float(seconds)


def test_a_page_has_the_databases_clock(sam: Client, owner_sql: psycopg.Connection[Any]) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10)):
        for _ in range(60):
            if abs(off := ahead(sam, owner_sql)) < 1:
                break
            time.sleep(0.1)
        assert abs(off) < 1
