"""Statements that travel together: in order, all or none, and what is left after something went wrong on the way."""

import json
import os
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connection, transaction
from psycopg.types.json import Jsonb

from memoryhub.core.db import pipeline, statements
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.actions import observations
from memoryhub.memory.models import Observation
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.factories import make_agent, make_team
from tests.support.labelled_world import make_task


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The statements of each exchange with the server, as they are made."""
    found: list[list[str]] = []
    exchange = pipeline.Pipeline.exchange

    def listen(self: pipeline.Pipeline, statements: Any, *, begin: bool) -> Any:
        found.append([text for text, _ in statements])
        return exchange(self, statements, begin=begin)

    monkeypatch.setattr(pipeline.Pipeline, "exchange", listen)
    return found


def usable() -> bool:
    return statements.run("select %s::int + 1", [41]) == [(42,)]


def together(*pairs: tuple[str, list[Any]]) -> None:
    """Send the statements in one trip, in a transaction."""
    with transaction.atomic():
        for text, params in pairs:
            statements.queue(text, params)
        statements.flush()


def test_each_statement_sees_what_those_before_it_did(trips: list[list[str]]):
    with transaction.atomic():
        statements.queue("create temporary table seen (n int) on commit drop")
        statements.queue("insert into seen select generate_series(1, %(n)s::int)", {"n": 3})
        counted = statements.queue("select count(*) from seen")
        assert statements.run("select sum(n) from seen where n <> %s", [2]) == [(4,)]
        assert counted.rows() == [(3,)]
    assert len(trips) == 1


def test_a_write_is_two_trips_and_its_answer_a_third(trips: list[list[str]]):
    viewer = make_agent(make_team("trips")).viewer
    task = make_task(viewer)
    item = NewObservation(content="found", task=task.key)
    observations.log(viewer, item=item, task=task)
    trips.clear()
    observations.log(viewer, item=item, task=task)
    assert len(trips) == 1, "the settings, the row, the event, COMMIT and the wait for the disk travel together"
    assert trips[0][-2] == "commit"


def test_a_statement_of_the_orm_comes_after_what_waits():
    viewer = make_agent(make_team("order")).viewer
    task = make_task(viewer)
    with viewer_transaction(viewer):
        logged = observations.log(viewer, item=NewObservation(content="first", task=task.key))
        assert Observation.objects.filter(id=logged.id).exists()


def test_the_first_fault_is_told_and_nothing_after_it_is_done():
    team = make_team("fault")
    with pytest.raises(DataError) as raised:
        together(
            ("update team set name = 'changed' where id = %s", [team.id]),
            ("select 1 / %s::int", [0]),
            ("update team set name = 'later' where id = %s", [team.id]),
            ("commit", []),
        )
    assert isinstance(raised.value.__cause__, psycopg.errors.DivisionByZero)
    assert Team.objects.get(id=team.id).name == team.name
    assert usable()


def test_what_waits_is_forgotten_with_its_transaction():
    viewer = make_agent(make_team("forgotten")).viewer
    task = make_task(viewer)

    def fail() -> None:
        with viewer_transaction(viewer):
            observations.log(viewer, item=NewObservation(content="never", task=task.key))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with viewer_transaction(viewer, read_only=True):
        assert not Observation.objects.filter(task=task.id).exists()


def test_a_commit_that_the_database_refuses_is_an_error_and_nothing_is_kept():
    team = make_team("refused")
    with pytest.raises(IntegrityError):
        together(
            ("update team set name = 'changed' where id = %s", [team.id]),
            # A deferred foreign key: it is looked at by COMMIT.
            ("update membership set team_id = -1 where team_id = %s", [team.id]),
            ("commit", []),
            ("select 1", []),
        )
    assert Team.objects.get(id=team.id).name == team.name
    assert usable()


def test_a_value_that_cannot_be_adapted_is_refused_before_anything_is_sent():
    with pytest.raises((ProgrammingError, DataError, UnicodeEncodeError)):
        statements.run("select %s::text", ["\ud800"])
    assert usable()
    with pytest.raises(ProgrammingError):
        statements.run("select %s::text", [object()])
    assert usable()


def test_a_statement_that_failed_when_it_was_new_is_prepared_again():
    with pytest.raises(ProgrammingError):
        statements.run("select n from not_yet_there")
    with pytest.raises(DataError):
        together(("select 1 / %s::int", [0]), ("select %s::int * 7", [6]))  # the second is new, and never reached
    assert statements.run("select %s::int * 7", [6]) == [(42,)]


def test_only_so_many_statements_stay_prepared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "MAX_PREPARED", 5)
    connection.close()
    for number in range(12):
        assert statements.run(f"select {number} + %s::int", [1]) == [(number + 1,)]
    assert statements.run("select count(*) from pg_prepared_statements") == [(5,)]
    assert statements.run("select 0 + %s::int", [1]) == [(1,)]  # one that had to go


def test_a_long_statement_is_not_kept():
    connection.close()
    text = f"select %s::int /* {'x' * pipeline.MAX_LENGTH} */"
    assert statements.run(text, [7]) == [(7,)]
    kept = "select count(*) from pg_prepared_statements where strpos(statement, repeat('x', 99)) > 0"
    assert statements.run(kept) == [(0,)]


def test_a_connection_that_breaks_on_the_way_is_an_error_and_the_next_one_works():
    (pid,) = statements.run("select pg_backend_pid()")[0]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(OperationalError):
        together(("select 2", []), ("select 3", []))
    connection.close_if_unusable_or_obsolete()
    assert usable()


def test_times_and_numbers_come_back_as_they_were():
    row = statements.run(
        "select %s::timestamptz, %s::float8, %s::varchar[], %s::jsonb", [None, 0.1, ["a,b", '"c"'], "{}"]
    )[0]
    assert row[0] is None
    assert row[1:3] == (0.1, ["a,b", '"c"'])
    ((at,),) = statements.run("select '2026-01-31T09:30:00.5Z'::timestamptz")
    assert at == datetime(2026, 1, 31, 9, 30, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 'a "quoted" \\ text, ünïcode 日本 {}'),
        ("text", ""),
        ("varchar[]", []),
        ("varchar[]", ["", "null", "NULL", "a,b", '"', "\\", '\\"', "{}", " x ", "日本"]),
        ("int[]", [1, -2, 2**31 - 1]),
        ("uuid[]", [UUID(int=7), UUID(int=2**128 - 1)]),
        ("uuid", UUID(int=7)),
        ("bytea", b"\x00\\x\xff"),
        ("float8", 1e-300),
        ("float8", 0.1 + 0.2),
        ("bigint", -(2**53)),
        ("bool", True),
        ("bool", False),
        ("text", None),
        ("timestamptz", datetime(2026, 11, 26, 10, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_value_comes_back_as_it_was_sent(kind: str, value: object):
    ((back,),) = statements.run(f"select %s::{kind}", [value])
    assert back == value


def test_jsonb_comes_back_as_it_was_sent():
    value = {"a": [1, 0.5, None, True, 'q"\\ 日本'], "b": {}, "big": 2**70}
    ((back,),) = statements.run("select %s::jsonb", [Jsonb(value)])
    assert json.loads(back) == value


def test_a_nul_is_refused_wherever_it_stands():
    for kind, value in (("text", "a\0b"), ("varchar[]", ["a", "a\0b"]), ("jsonb", Jsonb({"a": "\0"}))):
        with pytest.raises(DataError):
            statements.run(f"select %s::{kind}", [value])
    assert usable()
