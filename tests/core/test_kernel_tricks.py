"""What the kernel does by itself for speed, held to its source: Django's transactions, and psycopg's text of values."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from memoryhub.core.db import blocks, statements
from memoryhub.core.db.blocks import block
from memoryhub.core.models import Role, Sensitivity
from tests.support.factories import unique

Block = Callable[[], AbstractContextManager[None]]


class Stage:
    """A table that two kinds of blocks write to, and what a scenario has seen on the way."""

    def __init__(self, owner: psycopg.Connection[Any], enter: Block, table: str) -> None:
        self.owner, self.enter, self.table = owner, enter, table
        self.seen: list[object] = []

    def put(self, number: int) -> None:
        """By the kernel's way to the database."""
        statements.run(f"insert into {self.table} values (%s::int)", [number])

    def put_by_orm(self, number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"insert into {self.table} values (%s)", [number])

    def look(self) -> None:
        """What the transaction itself says of itself."""
        self.seen.append((connection.in_atomic_block, connection.get_autocommit(), connection.needs_rollback))

    def on_commit(self, word: str, **options: Any) -> None:
        def hook() -> None:
            self.seen.append((word, self.rows(), connection.in_atomic_block, connection.get_autocommit()))

        transaction.on_commit(hook, **options)

    def rows(self) -> list[int]:
        """As others see them."""
        return [number for (number,) in self.owner.execute(f"select n from {self.table} order by n")]

    def kill(self) -> None:
        """End the connection from the server's side."""
        self.owner.execute("select pg_terminate_backend(%s, 5000)", [pid()])


def pid() -> int:
    assert connection.connection is not None
    return connection.connection.info.backend_pid


def commit(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.look()
        stage.put_by_orm(2)
        stage.seen.append(stage.rows())
    stage.put(3)


def nothing(stage: Stage) -> None:
    with stage.enter():
        stage.look()


def return_early(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        return


def fail(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        raise LookupError


def interrupt(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        raise KeyboardInterrupt


def stop_iterating(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        raise StopIteration


def fail_before_anything(stage: Stage) -> None:
    with stage.enter():
        raise LookupError


def fail_in_the_database(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.put_by_orm(2**40)


def go_on_after_a_database_error(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("after an error")
        with pytest.raises(Exception, match="out of range"):
            stage.put_by_orm(2**40)
        stage.look()


def fail_in_commit(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.put(1)  # its uniqueness is looked at by COMMIT
        stage.on_commit("never")


def save(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        with transaction.atomic():
            stage.put_by_orm(2)
            stage.look()
            with transaction.atomic():
                stage.put(3)
        stage.look()


def go_back_to_a_savepoint(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("kept")
        with suppress(LookupError), transaction.atomic():
            stage.put(2)
            stage.on_commit("gone with its savepoint")
            raise LookupError
        stage.look()
        stage.put_by_orm(3)


def go_back_to_a_savepoint_after_a_database_error(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        with pytest.raises(Exception, match="out of range"), transaction.atomic():
            stage.put(2**40)
        stage.put_by_orm(3)


def fail_where_there_is_no_savepoint(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("never")
        with suppress(LookupError), transaction.atomic(savepoint=False):
            stage.put_by_orm(2)
            raise LookupError
        stage.look()
        with pytest.raises(transaction.TransactionManagementError):
            stage.put_by_orm(3)


def set_rollback(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("never")
        transaction.set_rollback(True)


def hook(stage: Stage) -> None:
    stage.on_commit("outside: at once")
    with stage.enter():
        stage.put(1)
        stage.on_commit("first")
        with transaction.atomic():
            stage.on_commit("second")
        stage.seen.append("the end")
    stage.seen.append("after")


def hook_and_fail(stage: Stage) -> None:
    with suppress(LookupError), stage.enter():
        stage.put(1)
        stage.on_commit("never")
        raise LookupError
    with stage.enter():
        stage.put(2)


def hook_that_fails(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        transaction.on_commit(lambda: stage.put_by_orm(2**40))
        stage.on_commit("discarded by the one before")


def hook_that_may_fail(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        transaction.on_commit(lambda: stage.put_by_orm(2**40), robust=True)
        stage.on_commit("in spite of the one before")


def hook_that_writes(stage: Stage) -> None:
    def write() -> None:
        with stage.enter():
            stage.put(2)
            stage.on_commit("of the second")

    with stage.enter():
        stage.put(1)
        transaction.on_commit(write)


def nest(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        with pytest.raises(RuntimeError, match="durable"), stage.enter():
            stage.put(2)
        stage.look()


def nest_and_fail(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        with stage.enter():
            stage.put(2)


def nest_in_one_of_djangos(stage: Stage) -> None:
    with transaction.atomic():
        stage.put(1)
        with pytest.raises(RuntimeError, match="durable"), stage.enter():
            stage.put(2)


def nest_a_durable_one_of_djangos(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(durable=True):
            stage.put(2)


def begin_unconnected(stage: Stage) -> None:
    connection.close()
    with stage.enter():
        stage.put(1)


def close_inside(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        connection.close()
        stage.look()


def lose(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("never")
        stage.kill()
        stage.put_by_orm(2)


def lose_and_fail(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.kill()
        raise LookupError


def lose_before_the_commit(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.on_commit("never")
        stage.kill()


def lose_and_go_on(stage: Stage) -> None:
    with stage.enter():
        stage.put(1)
        stage.kill()
        with pytest.raises(Exception, match=r"terminat|closed"):
            stage.put_by_orm(2)


SCENARIOS = [
    commit,
    nothing,
    return_early,
    fail,
    interrupt,
    stop_iterating,
    fail_before_anything,
    fail_in_the_database,
    go_on_after_a_database_error,
    fail_in_commit,
    save,
    go_back_to_a_savepoint,
    go_back_to_a_savepoint_after_a_database_error,
    fail_where_there_is_no_savepoint,
    set_rollback,
    hook,
    hook_and_fail,
    hook_that_fails,
    hook_that_may_fail,
    hook_that_writes,
    nest,
    nest_and_fail,
    nest_in_one_of_djangos,
    nest_a_durable_one_of_djangos,
    begin_unconnected,
    close_inside,
    lose,
    lose_and_fail,
    lose_before_the_commit,
    lose_and_go_on,
]


def state() -> tuple[object, ...]:
    """What is left of a block in Django's connection, which is made anew where it was closed."""
    return (
        connection.get_autocommit(),
        connection.in_atomic_block,
        connection.needs_rollback,
        connection.closed_in_transaction,
        list(connection.savepoint_ids),
        list(connection.atomic_blocks),
        list(connection.run_on_commit),
        len(connection.execute_wrappers),
    )


def observe(scenario: Callable[[Stage], None], stage: Stage) -> dict[str, object]:
    """Play the scenario on a connection of its own, and say what can be seen of it."""
    connection.close()
    connection.ensure_connection()
    before, raised = pid(), None
    try:
        scenario(stage)
    except BaseException as error:
        raised = type(error), type(error.__cause__)
    found: dict[str, object] = {"raised": raised, "seen": stage.seen, "rows": stage.rows(), "state": state()}
    found["is_kept"] = pid() == before
    stage.put(100)
    stage.put_by_orm(101)
    # Outside of a block each statement is committed at once, on whatever connection there is now.
    assert stage.rows()[-2:] == [100, 101]
    return found


@pytest.fixture
def stages(owner_sql: psycopg.Connection[Any]) -> Iterator[Callable[[Block], Stage]]:
    """Makes stages, each with a table of its own."""
    made: list[str] = []

    def make(enter: Block) -> Stage:
        made.append(unique("trick").replace("-", "_"))
        owner_sql.execute(f"create table {made[-1]} (n int unique deferrable initially deferred)")
        owner_sql.execute(f"grant select, insert on {made[-1]} to public")
        return Stage(owner_sql, enter, made[-1])

    yield make
    connection.close()
    for table in made:
        owner_sql.execute(f"drop table {table}")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_block_does_what_djangos_durable_one_does(
    scenario: Callable[[Stage], None], stages: Callable[[Block], Stage]
) -> None:
    ours = observe(scenario, stages(block))
    theirs = observe(scenario, stages(lambda: transaction.atomic(durable=True)))
    assert ours == theirs


def commit_always(wrapper: BaseDatabaseWrapper, is_whole: bool) -> None:
    wrapper.commit()


def begin_anywhere() -> AbstractContextManager[None]:
    connection.in_atomic_block = False
    return block()


def test_the_comparison_sees_a_block_that_commits_what_has_failed(
    monkeypatch: pytest.MonkeyPatch, stages: Callable[[Block], Stage]
) -> None:
    """A control of the test before."""
    theirs = observe(fail, stages(lambda: transaction.atomic(durable=True)))
    monkeypatch.setattr(blocks, "_end", commit_always)
    assert observe(fail, stages(block))["rows"] != theirs["rows"]


def test_the_comparison_sees_a_block_that_nests(stages: Callable[[Block], Stage]) -> None:
    """Another."""
    theirs = observe(nest_and_fail, stages(lambda: transaction.atomic(durable=True)))
    assert observe(nest_and_fail, stages(begin_anywhere)) != theirs


def test_what_waits_comes_before_a_statement_of_the_orm_and_is_discarded_at_the_end(
    stages: Callable[[Block], Stage],
) -> None:
    """What a block does besides: Django knows no statements that wait."""
    stage = stages(block)
    with stage.enter():
        stage.put(1)
        statements.queue(f"insert into {stage.table} values (2), (3)")
        with connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {stage.table}")
            assert cursor.fetchone() == (3,)
        statements.queue(f"insert into {stage.table} values (4)")
    assert stage.rows() == [1, 2, 3]
    stage.put(5)
    assert stage.rows() == [1, 2, 3, 5]


def received(run: Callable[[str, list[object]], list[Any]], kind: str, value: object) -> object:
    """What the server makes of a value of this type, as its text; or by which error it, or the client, refuses it."""
    try:
        ((text,),) = run(f"select (%s::{kind})::text", [value])
    except Exception as error:
        return type(error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error)
    return text


@pytest.fixture(scope="module")
def run_plainly() -> Iterator[Callable[[str, list[object]], list[Any]]]:
    """Runs a statement as psycopg does by itself."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as plain:
        yield lambda text, values: plain.execute(text, values).fetchall()


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
# Of any type that the statement wants, one after the other on one connection, as requests send them.
VALUES = st.one_of(
    st.tuples(st.sampled_from(["text", "varchar", "jsonb", "uuid", "int", "bool", "varchar[]"]), st.none()),
    st.tuples(st.just("text"), st.text(st.characters())),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.sampled_from(["smallint", "int", "bigint", "numeric", "float8"]), st.integers(-(2**70), 2**70)),
    st.tuples(st.just("float8"), st.floats()),
    st.tuples(st.just("uuid"), st.uuids()),
    st.tuples(st.just("bytea"), st.binary()),
    st.tuples(st.sampled_from(["varchar[]", "text[]"]), st.lists(st.text(st.characters()) | st.none(), max_size=4)),
    st.tuples(st.just("varchar[]"), st.lists(st.sampled_from(Role), max_size=2)),
    st.tuples(st.just("int[]"), st.lists(st.integers(-(2**40), 2**40) | st.none(), max_size=4)),
    st.tuples(st.just("uuid[]"), st.lists(st.uuids(), max_size=4)),
    st.tuples(st.just("bool[]"), st.lists(st.booleans(), max_size=4)),
    st.tuples(st.just("jsonb"), st.builds(Jsonb, ANY_JSON)),
    st.tuples(st.just("varchar"), st.sampled_from(Role)),
    st.tuples(st.just("int"), st.sampled_from(Sensitivity)),
    st.tuples(st.just("timestamptz"), st.datetimes(timezones=st.just(UTC))),
)


@settings(max_examples=1000, deadline=None)
@given(sent=VALUES)
@example(sent=("float8", math.nan))
@example(sent=("float8", -math.inf))
@example(sent=("float8", -0.0))
@example(sent=("text", "a\0b"))
@example(sent=("text", "\ud800"))
@example(sent=("varchar[]", ["", "NULL", "a,b", '"', "\\", "{}", " x ", "日本"]))
@example(sent=("varchar[]", ["a\0b"]))
@example(sent=("varchar[]", []))
@example(sent=("text[]", [None]))
@example(sent=("bytea", b"\0\\x\xff"))
@example(sent=("uuid", UUID(int=0)))
@example(sent=("jsonb", Jsonb({"big": 2**70, "\ud800": "\0", "n": [1e22, 1e-7, -0.0]})))
@example(sent=("jsonb", Jsonb("\0")))
@example(sent=("jsonb", Jsonb({1: 2})))
@example(sent=("jsonb", Jsonb({"a": 1}, dumps=lambda value: '"its own"')))
@example(sent=("timestamptz", datetime(1, 1, 1, tzinfo=UTC)))
@example(sent=("int", object()))
def test_the_server_receives_what_psycopg_would_send(
    run_plainly: Callable[[str, list[object]], list[Any]], sent: tuple[str, object]
) -> None:
    assert received(statements.run, *sent) == received(run_plainly, *sent)


def test_the_comparison_sees_another_value(run_plainly: Callable[[str, list[object]], list[Any]]) -> None:
    """The control of the test before."""
    assert received(statements.run, "float8", 0.0) != received(run_plainly, "float8", -0.0)
    assert received(statements.run, "varchar[]", [None]) != received(run_plainly, "varchar[]", ["NULL"])
    assert received(statements.run, "text", "\0") is not received(run_plainly, "text", "\ud800")


def test_what_is_no_json_is_written_as_orjson_does(run_plainly: Callable[[str, list[object]], list[Any]]) -> None:
    """The one difference, which no door lets in: psycopg writes NaN, which the server refuses, and takes no UUID."""
    assert received(statements.run, "jsonb", Jsonb(math.nan)) == "null"
    assert received(run_plainly, "jsonb", Jsonb(math.nan)) is psycopg.errors.InvalidTextRepresentation
    assert received(statements.run, "jsonb", Jsonb(UUID(int=1))) == f'"{UUID(int=1)}"'
    assert received(run_plainly, "jsonb", Jsonb(UUID(int=1))) is TypeError
