"""The roll-up of the insights follows the ledger: once, whoever does it; and shows each reader what they may see."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError
from django.db import DataError, ProgrammingError

from escalations.reports import roll_up
from memoryhub.core.db.statements import run
from memoryhub.core.transactions import viewer_transaction
from tests.support.api import at_once, make_api
from tests.support.commands import run as command
from tests.support.factories import make_team
from tests.support.ledger import head
from tests.support.work_history import World, make_world, workers_away

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module", autouse=True)
def alone(owner_sql: Connection) -> Iterator[None]:
    with workers_away(owner_sql):
        yield


@pytest.fixture(scope="module")
def world(owner_sql: Connection) -> World:
    return make_world(owner_sql)


def test_a_label_that_is_made_meanwhile_is_followed(owner_sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the worker's list of labels and its reading of events, work is done under a new one, and other work."""
    world = World(owner_sql, random.Random(5))
    roll_up.catch_up(world.team.id)

    def work() -> None:
        for key, label in (("a", {"sensitivity": "public", "compartments": ["finance"]}), ("b", {})):
            world.agents[0].make("tasks", {"key": key, "title": "T", **label})
            token = world.agents[0].make(f"tasks/{key}/claim")["token"]
            world.agents[0].make(f"tasks/{key}/complete", {"token": token})

    def run_meanwhile(text: str, params: Any = ()) -> Any:
        found = run(text, params)
        if text.startswith("select seq from insight_state"):
            monkeypatch.undo()
            at_once(work)
        return found

    monkeypatch.setattr(roll_up, "run", run_meanwhile)
    roll_up.catch_up(world.team.id)
    assert world.cursor == head(world.team.id)
    (row,) = world.ask(world.readers[-1], "")
    assert (row["completed"], row["worked_on"]) == (2, 2)


def test_workers_at_once_count_everything_once(world: World) -> None:
    world.roll_up_again()
    alone = world.contents()
    world.roll_up_again(0)
    at_once(*[lambda: [roll_up.follow(world.team.id, size=40) for _ in range(30)]] * 4)
    roll_up.catch_up(world.team.id)
    assert world.contents() == alone


def test_a_worker_that_dies_leaves_nothing_half_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.roll_up_again(0.5)
    before = world.contents(), world.cursor
    with monkeypatch.context() as patch:
        patch.setattr(roll_up, "_COUNT", "select 1 / 0")
        with pytest.raises(DataError):
            roll_up.catch_up(world.team.id)
    assert (world.contents(), world.cursor) == before
    roll_up.catch_up(world.team.id)
    assert world.differences(20) == 0


def test_it_is_rebuilt_by_a_command(world: World) -> None:
    world.roll_up_again()
    before = world.contents()
    world.owner_sql.execute("update insight_tally set number = number + 1 where team_id = %s", [world.team.id])
    assert world.differences(20) > 0  # a control: what is made anew is really new
    _, said = command("rebuild_insights", team=world.team.slug)
    assert f"{world.team.slug}: done." in said
    assert world.contents() == before
    with pytest.raises(CommandError, match="no team 'nobody'"):
        command("rebuild_insights", team="nobody")


TABLES = ("insight_tally", "insight_entry", "insight_state")


def test_row_level_security_shows_each_what_their_labels_allow(world: World, app_sql: Connection) -> None:
    world.roll_up_again()
    seen = []
    for reader in world.readers:
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True) as transaction:
            seen.append([run(f"select count(*) from {table}")[0][0] for table in TABLES])
            labels = run("select distinct label_id from insight_tally union select label_id from insight_entry")
            assert {label for (label,) in labels} <= transaction.labels
    public, internal, finance, confidential, everything = ([tallies, entries] for tallies, entries, _ in seen)
    assert [0, 0] < public < internal < finance < everything
    assert internal == confidential  # what is confidential is of finance, too
    assert [state for *_, state in seen] == [1] * len(seen)
    other = make_api(make_team()).agent
    assert other is not None
    with viewer_transaction(other.viewer, read_only=True):
        own = [run(f"select count(*) from {table} where team_id = {world.team.id}") for table in TABLES]
    assert own == [[(0,)]] * len(TABLES)
    assert [app_sql.execute(f"select count(*) from {table}").fetchall() for table in TABLES] == [[(0,)]] * len(TABLES)


_WRITTEN_UP = {
    "insight_tally": """
        insert into insight_tally
          (id, team_id, label_id, week, member_id, measure, next_own, next_any, number, spans)
        values (gen_random_uuid(), %(team)s::int, %(label)s::int, now(), gen_random_uuid(), 'x', 'infinity',
          'infinity', 1, '{}')""",
    "insight_entry": """
        insert into insight_entry (team_id, label_id, task_id)
        values (%(team)s::int, %(label)s::int, gen_random_uuid())""",
}


@pytest.mark.parametrize("table", _WRITTEN_UP)
def test_row_level_security_lets_nobody_change_what_they_do_not_see(world: World, table: str) -> None:
    world.roll_up_again()
    low = world.readers[0].agent
    assert low is not None
    total = f"select count(*), max(label_id) from {table} where team_id = %s"
    ((rows, label),) = world.owner_sql.execute(total, [world.team.id]).fetchall()

    def change() -> None:
        with viewer_transaction(low.viewer):
            for change in (f"update {table} set team_id = team_id", f"delete from {table}"):
                ((changed,),) = run(f"with x as ({change} returning 1) select count(*) from x")
                assert 0 < changed < rows
            run(_WRITTEN_UP[table], {"team": world.team.id, "label": label})

    with pytest.raises(ProgrammingError, match="row-level security"):
        change()
    assert world.owner_sql.execute(total, [world.team.id]).fetchall() == [(rows, label)]
