"""I3, short in `make test` (60 grants), full in `make prove` (5,000)."""

from typing import Any

import psycopg
import pytest

from tests.proofs import i03_leases as harness
from tests.support.web import Server

pytestmark = pytest.mark.prove


def test_a_write_with_an_old_token_never_lands(full: bool, server: Server, owner_sql: psycopg.Connection[Any]) -> None:
    grants = 5_000 if full else 60
    report = harness.run(server.url, owner_sql, grants, seed=3)
    print(report)
    assert report.grants >= grants
    assert (report.not_increasing, report.late, report.untold, report.other) == (0, 0, 0, {})
    # The pauses really struck, and holders came back with tokens that were no longer good.
    assert report.struck > 0
    assert report.fenced_off > 0
    assert report.writes > 0


def test_the_control_is_caught(full: bool, server: Server, owner_sql: psycopg.Connection[Any]) -> None:
    """Holders that leave the token out: the same pauses, and late writes land."""
    report = harness.run(server.url, owner_sql, 1_000 if full else 60, seed=4, checked=False)
    print(report)
    assert report.struck > 0
    assert report.fenced_off == 0
    assert report.late > 0
