"""I8, short in every test run, at full size by `make prove`."""

from typing import Any

import psycopg
import pytest

from tests.proofs import i08_cursors
from tests.support.web import Server


@pytest.mark.prove
def test_a_cursor_that_cannot_be_resumed_from_is_always_told_so(
    server: Server, owner_sql: psycopg.Connection[Any], full: bool
):
    result = i08_cursors.run(server.url, owner_sql, 100 if full else 3)
    print(result)
    assert result.told > result.asked / 5, "hardly a cursor was too old"
    assert result.served > result.asked / 5, "hardly a cursor was good"
    assert result.control_silent > 0, "the control lost nothing, so this harness would not see a loss either"
    assert not any(result.silent.values()), result
    assert result.wrong_floors == 0, result
