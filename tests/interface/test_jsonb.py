"""What the parser lets through, PostgreSQL stores as jsonb and gives back equal, and the parser takes again."""

from typing import Any

import msgspec
import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from memoryhub.interface.http.json import dump, parse_object
from tests.support.json_values import JSON


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
@example(value={"a": [1e-100, -1e-100, 2.0**53, 2**53, 9007199254740991.0, 0.1, -0.0, 1.7976e-5, 4503599627370497.5]})
def test_jsonb_gives_back_what_was_let_in(app_sql: psycopg.Connection[Any], value: dict[str, Any]) -> None:
    let_in = parse_object(dump(value))
    row = app_sql.execute("select %s::jsonb::text", [dump(let_in).decode()]).fetchone()
    assert row is not None
    assert orjson.loads(row[0]) == let_in
    assert parse_object(row[0].encode()) == let_in


@pytest.mark.parametrize("raw", [b'{"a": "\\u0000"}', b'{"a": 1e300}', b'{"a": 1e-300}'])
def test_what_is_kept_out_would_not_come_back(app_sql: psycopg.Connection[Any], raw: bytes) -> None:
    # The control: such values fail in the database, or come back as what the parser refuses.
    try:
        row = app_sql.execute("select %s::jsonb::text", [raw.decode()]).fetchone()
    except psycopg.DataError:
        return
    assert row is not None
    assert "e" not in row[0]
    assert len(row[0]) > 300


@pytest.mark.parametrize("raw", [b'{"a": 12345678901234567890.0}', b'{"a": 1e300}'])
def test_a_double_beyond_the_bound_would_come_back_as_an_integer(app_sql: psycopg.Connection[Any], raw: bytes) -> None:
    # As rows are stored: by Python's own text of the value.
    row = app_sql.execute("select %s::jsonb::text", [Jsonb(orjson.loads(raw))]).fetchone()
    assert row is not None
    assert isinstance(msgspec.json.decode(row[0])["a"], int)
    within = app_sql.execute("select %s::jsonb::text", [Jsonb({"a": 2.0**53})]).fetchone()
    assert within is not None
    assert isinstance(msgspec.json.decode(within[0])["a"], float)
