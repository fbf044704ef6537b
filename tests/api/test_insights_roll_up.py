"""The roll-up of the insights: whatever happened, and however far it has followed, the figures are the ledger's."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from escalations.reports import insights, roll_up
from tests.support.ledger import head
from tests.support.work_history import World, make_world, workers_away

Connection = psycopg.Connection[Any]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_figures_are_those_of_the_ledger_however_far_it_is_followed(owner_sql: Connection, seed: int) -> None:
    world = World(owner_sql, random.Random(seed))
    world.live(60)
    for _ in range(8):
        world.live(20)
        end = head(world.team.id) - world.rng.randrange(1, 25)
        while world.cursor < end:
            world.follow(world.rng.randint(1, end - world.cursor))
        assert world.differences(10) == 0
    roll_up.catch_up(world.team.id)
    assert world.differences(30) == 0


@pytest.fixture(scope="module", autouse=True)
def alone(owner_sql: Connection) -> Iterator[None]:
    with workers_away(owner_sql):
        yield


@pytest.fixture(scope="module")
def world(owner_sql: Connection) -> World:
    return make_world(owner_sql)


def faults(world: World, part: float) -> int:
    """The differences when this part of the ledger is rolled up, and, where it is all, twice."""
    world.roll_up_again(part)
    if part == 1:
        world.set_cursor(0)
        roll_up.catch_up(world.team.id)
    return world.differences(60)


@pytest.mark.parametrize("part", [1, 0.7])
def test_any_part_of_it_may_be_rolled_up(world: World, part: float) -> None:
    assert faults(world, part) == 0
    for period in (
        "from=0001-01-01T00:00:00Z&to=0001-06-30T00:00:00Z",
        "from=9999-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
    ):
        assert {row["completed"] for row in world.ask(world.readers[-1], f"by=week&{period}")} == {0}


_LABEL = "select task_id, (select min(id) from label where team_id = %(team)s::int) as label, week"
BROKEN: dict[str, tuple[Any, str, str, str]] = {
    "an event that comes twice": (roll_up, "_REMOVE", "where task_id =", "where task_id is null and task_id ="),
    "labels": (roll_up, "_FILE", "select task_id, label, week", _LABEL),
    "events under another label": (roll_up, "_FILE", "where not is_plain", "where false"),
    "a task in several weeks": (insights, "_ROLLED_UP", "then t.next_own", "then 'infinity'"),
    "clocks that disagree": (roll_up, "_FILE", "where next_own < week or next_any < week", "where false"),
    "the first week": (insights, "_ROLLED_UP", "e.id < %(start_last)s", "e.id < %(start_first)s"),
    "the last week": (insights, "_ROLLED_UP", "e.id < %(end_last)s", "e.id < %(end_first)s"),
    "what is newer": (insights, "_ROLLED_UP", "and seq > (", "and seq < 0 and seq > ("),
    "what is rolled up of a task that is newer": (insights, "_ROLLED_UP", "n.task_id not in (", "not exists ("),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_comparison_sees_a_roll_up_that_is_wrong_about(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The controls."""
    module, name, old, new = BROKEN[what]
    text = getattr(module, name)
    assert text.count(old) == 1
    monkeypatch.setattr(module, name, text.replace(old, new))
    assert faults(world, 0.7 if "newer" in what else 1) > 0
