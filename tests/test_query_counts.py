"""P18: every list, queue and page asks the same at 1 row and at 100, and nothing else than query_counts.json says.

A new query is a decision: `UPDATE_QUERY_COUNTS=1 pytest tests/test_query_counts.py` writes the file, and the change of
it is reviewed. Each query is named by its statement and the table that it is about.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.core.models import Sensitivity, Team
from tests.api.client import Api, make_api
from tests.factories import make_agent, make_person, make_team

BASELINE = Path(__file__).with_name("query_counts.json")
API = [
    "agents?limit=100",
    "tasks?limit=100",
    "tasks?q=t&status=open&limit=100",
    "tasks/{task}",
    "observations?limit=100",
    "observations?task={task}&tags=x&limit=100",
    "decisions?limit=100",
    "decisions?task={task}&limit=100",
    "escalations?limit=100",
    "escalations?task={task}",
    "escalations/{escalation}",
    "escalations/{escalation}/package?limit=100",
]
DESK = ["/", "/escalations/{escalation}/", "/escalations/{escalation}/panel/", "/escalations/{escalation}/timeline/"]
_TABLE = re.compile(r"(?:\bfrom|\binto|^update)\s+\"?(\w+)", re.IGNORECASE)


@dataclass
class World:
    """A team with rows of one label, somebody who reads it over the API, and somebody at the desk."""

    team: Team
    api: Api
    desk: Client
    rows: dict[str, str]


def make_world(level: Sensitivity) -> World:
    team = make_team()
    api = make_api(team, level)
    person = make_person(team, clearance=level)
    desk = Client()
    desk.force_login(person.actor, backend="memoryhub.core.people.PeopleBackend")
    world = World(team, api, desk, {"task": "t"})
    add_task(world, "t", level)
    world.rows["escalation"] = escalate(world, "t")
    escalate_again(world, 1)
    return world


def escalate_again(world: World, count: int) -> None:
    """The task `t` gets so many rows more of each kind, and a new escalation with some of every kind around it.

    Those are on every page's first screen: what differs is the number of rows, not their kinds.
    """
    remember(world, "t", count, count)
    world.api.make(f"escalations/{world.rows['escalation']}/cancel", {"reason": "To be made anew."})
    world.rows["escalation"] = escalate(world, "t")
    escalate(world, "t")  # which adds a note
    remember(world, "t", 1, 1)


def add_task(world: World, key: str, level: Sensitivity, *, observations: int = 0, decisions: int = 0) -> None:
    world.api.make("tasks", {"key": key, "title": "Task", "sensitivity": level.label})
    remember(world, key, observations, decisions)


def remember(world: World, key: str, observations: int, decisions: int) -> None:
    if observations:
        item = {"task": key, "content": {"saw": "x"}, "tags": ["x"]}
        world.api.make("observations/batch", {"items": [item] * observations})
    for _ in range(decisions):
        world.api.make("decisions", {"task": key, "decision": {"do": "x"}, "reasoning": "y"})


def escalate(world: World, key: str) -> str:
    asked = {"task": key, "reason_code": "other", "reason": "r", "question": "q"}
    made: str = world.api.make("escalations", asked)["id"]
    return made


def grow(world: World, level: Sensitivity) -> None:
    """To a hundred rows of everything."""
    escalate_again(world, 99)
    for number in range(99):
        key = f"t{number}"
        add_task(world, key, level)
        escalate(world, key)
        make_agent(world.team, level)
        world.api.make(f"tasks/{key}/claim")


def queries(read: Callable[[], int]) -> list[str]:
    """The names of what a read asks the database, after one that fills the caches."""
    assert read() == 200
    with CaptureQueriesContext(connection) as captured:
        assert read() == 200
    return [named(query["sql"]) for query in captured]


def named(sql: str) -> str:
    """`select task`: the statement and the first table; for a call, the function."""
    statement = sql.strip().split(None, 1)[0].lower()
    table = _TABLE.search(sql)
    if "set_config" in sql[:60]:
        return "set the viewer"
    call = re.match(r"\s*select (\w+)\(", sql, re.IGNORECASE)
    if call:
        return f"call {call[1]}"
    return f"{statement} {table[1]}" if table else statement


def measure(world: World) -> dict[str, list[str]]:
    found = {}
    for path in API:
        address = path.format(**world.rows)
        found[f"GET /api/v1/{path}"] = queries(lambda address=address: world.api.get(address).status)
    for path in DESK:
        address = path.format(**world.rows)
        found[f"GET {path}"] = queries(
            lambda address=address: world.desk.get(address, headers={"Accept": "text/html"}).status_code
        )
    return found


@pytest.mark.parametrize("level", [Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL], ids=lambda level: level.label)
def test_as_many_queries_at_a_hundred_rows_as_at_one(level: Sensitivity) -> None:
    world = make_world(level)
    one = measure(world)
    grow(world, level)
    hundred = measure(world)
    for path, names in one.items():
        assert hundred[path] == names, path
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if os.environ.get("UPDATE_QUERY_COUNTS"):
        BASELINE.write_text(json.dumps({**baseline, level.label: one}, indent=2) + "\n")
        return
    assert one == baseline[level.label]


def test_a_query_a_row_is_caught() -> None:
    """The control: a read that asks once a row is told apart."""
    from memoryhub.core.models import Membership

    def careless(team: Team) -> int:
        for member in Membership.objects.filter(team=team):
            member.actor.username  # noqa: B018  (this asks)
        return 200

    team = make_team()
    before = queries(lambda: careless(team))
    make_agent(team)
    assert len(queries(lambda: careless(team))) == len(before) + 1
