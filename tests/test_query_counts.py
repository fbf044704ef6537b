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

from agents.actions import agents
from agents.models import Scope
from escalations.actions.escalate import escalate as escalate_action
from memoryhub.core.ids import mark_of
from memoryhub.core.models import Membership, Sensitivity, Team
from memoryhub.core.secrecy import sealing
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of
from memoryhub.interface.pages import demo
from memoryhub.memory.actions import alerts, decisions, facts, learnings, leases, tasks
from memoryhub.memory.actions.facts import Seen
from memoryhub.memory.schemas.alerts import NewAlert
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.facts import NewFact
from memoryhub.memory.schemas.learnings import NewLearning
from memoryhub.memory.schemas.tasks import NewTask
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.selectors import facts as fact_selectors
from memoryhub.memory.selectors import tasks as task_selectors
from tests.support.api import Api, make_api
from tests.support.factories import make_agent, make_person, make_team, unique
from tests.support.signing_in import client_of

LEVEL = Sensitivity.CONFIDENTIAL
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
    "alerts?limit=100",
    "alerts?sent=true&limit=100",
    "facts?limit=100",
    "facts?task={task}&prefix=f&limit=100",
    "facts/f",
    "facts/f/history?limit=100",
    "facts/f?as_of_seq=9999",
    "learnings?limit=100",
    "learnings?task={task}&limit=100",
    "search?q=x&types=observation&limit=100",
    "search?q=x&types=learning&limit=100",
    "escalations?limit=100",
    "escalations?task={task}",
    "escalations/{escalation}",
    "escalations/{escalation}/package?limit=100",
    "insights?by=agent,week",
]
DESK = ["/", "/escalations/{escalation}/", "/escalations/{escalation}/panel/", "/escalations/{escalation}/timeline/"]
_TABLE = re.compile(r"(?:\bfrom|\binto|^update)\s+\"?(\w+)", re.IGNORECASE)
_INNER = re.compile(r"\([^()]*\)")


@dataclass
class World:
    """A team, somebody who reads its memory over the API, and somebody at the desk."""

    team: Team
    api: Api
    desk: Client
    rows: dict[str, str]
    fact: Seen | None = None  # the newest version of the fact `f`

    @property
    def agent(self) -> Viewer:
        assert self.api.agent is not None
        return self.api.agent.viewer


def make_world() -> World:
    """Everything in it is confidential, so that reading costs what it can cost."""
    team = make_team()
    api = make_api(team, LEVEL, scopes=Scope.values)
    desk = client_of(make_person(team, clearance=LEVEL).actor)
    world = World(team, api, desk, {"task": "t"})
    add_tasks(world, ["t"])
    grow(world, 1)
    return world


def grow(world: World, count: int) -> None:
    """So many rows more of each kind; the task `t` has them all, and then a new escalation with a few of every kind.

    Those are on every page's first screen: what differs is the number of rows, not their kinds.
    """
    remember(world, count)
    if "escalation" in world.rows:
        world.api.make(f"escalations/{world.rows['escalation']}/cancel", {"reason": "To be made anew."})
    escalate(world)
    world.api.make(f"escalations/{world.rows['escalation']}/cancel", {"reason": "To be made anew."})
    escalate(world)
    escalate(world)  # which adds a note
    alert(world, count)
    remember(world, 1)
    add_tasks(world, [unique("t") for _ in range(count)], escalated=True)
    with viewer_transaction(system := system_viewer(world.team.id)):
        for _ in range(count):
            agents.add(system, name=unique("agent"), clearance=LEVEL)


def remember(world: World, count: int) -> None:
    item = {"task": "t", "content": {"saw": "x"}, "tags": ["x"]}
    world.api.make("observations/batch", {"items": [item] * count})
    with viewer_transaction(world.agent):
        task = task_selectors.ref_by_key(world.agent, "t")
        for _ in range(count):
            decisions.record(world.agent, item=NewDecision(task=task.key, decision={"do": "x"}, reasoning="y"))
            learnings.log(
                world.agent, item=NewLearning(task=task.key, signal_type="pattern", details="x", context={"a": "b"})
            )
            facts.put(world.agent, key=unique("f"), item=NewFact(value="x", task=task.key), seen=None)
    with viewer_transaction(world.agent):
        seen = world.fact
        for _ in range(count):
            made = facts.put(world.agent, key="f", item=NewFact(value="x", task=task.key), seen=seen)
            seen = Seen(made.fact, made.version, mark_of(fact_selectors.by_key(world.agent, "f").change))
    world.fact = seen


def alert(world: World, count: int) -> None:
    """So many alerts to the API's agent, and from it."""
    if "other" not in world.rows:
        world.rows["other"] = make_agent(world.team, LEVEL, name="other").name
    other, sent = (
        Membership.objects.get(team=world.team, name="other"),
        NewAlert(to="all", insight="x", sensitivity=LEVEL),
    )
    sender = viewer_of(Membership.objects.select_related("actor", "team").get(id=other.id))
    with viewer_transaction(sender):
        for _ in range(count):
            alerts.send(sender, to=[Membership.objects.get(id=world.agent.membership)], item=sent)
    with viewer_transaction(world.agent):
        for _ in range(count):
            alerts.send(world.agent, to=[other], item=sent)


def add_tasks(world: World, keys: list[str], *, escalated: bool = False) -> None:
    with viewer_transaction(world.agent):
        for key in keys:
            task, _ = tasks.create(world.agent, item=NewTask(key=key, title="Task", sensitivity=LEVEL))
            if escalated:
                escalate_action(world.agent, task=task, reason_code="other", reason="r", question="q")
                leases.claim(world.agent, task=task)


def escalate(world: World) -> None:
    asked = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    world.rows["escalation"] = world.api.make("escalations", asked)["id"]


def queries(read: Callable[[], int]) -> list[str]:
    """The names of what a read asks the database, after one that fills the caches."""
    assert read() == 200
    with CaptureQueriesContext(connection) as captured:
        assert read() == 200
    return [named(query["sql"]) for query in captured]


_ENDED = re.compile(r"select \* from \(select q\.\*, .*? as total from \((?P<inner>.*)\) q\) w where", re.DOTALL)


def named(sql: str) -> str:
    """`select task`: the statement and the first table; for a call, the function."""
    if ended := _ENDED.match(sql):  # core.db.fitting
        sql = ended["inner"]
    statement = sql.strip().split(None, 1)[0].lower()
    flat = sql
    while (flatter := _INNER.sub("", flat)) != flat:
        flat = flatter
    table = _TABLE.search(flat)
    if "set_config" in sql[:60]:
        return "set the viewer"
    call = re.match(r"\s*select (\w+)\(", sql, re.IGNORECASE)
    if call:
        return f"call {call[1]}"
    return f"{statement} {table[1]}" if table else statement


def measure(world: World) -> dict[str, list[str]]:
    catch_up(world.team.id)
    found = {}
    for path in API:
        address = path.format(**world.rows)
        found[f"GET /api/v1/{path}"] = queries(lambda address=address: world.api.get(address).status)
    asked = {"context": {"a": "b"}, "limit": 100}
    found["POST /api/v1/learnings/relevant"] = queries(lambda: world.api.post("learnings/relevant", asked).status)
    for path in DESK:
        address = path.format(**world.rows)
        found[f"GET {path}"] = queries(
            lambda address=address: world.desk.get(address, headers={"Accept": "text/html"}).status_code
        )
    return found


def test_as_many_queries_at_a_hundred_rows_as_at_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a process asks again each second, or each half minute, is no page's.
    monkeypatch.setattr(sealing, "KEY_SECONDS", 3600.0)
    monkeypatch.setattr(demo, "ASKED_SECONDS", 3600.0)
    sealing.forget_keys()
    world = make_world()
    one = measure(world)
    grow(world, 99)
    hundred = measure(world)
    for path, names in one.items():
        assert hundred[path] == names, path
    if os.environ.get("UPDATE_QUERY_COUNTS"):
        BASELINE.write_text(json.dumps(one, indent=2) + "\n")
    assert one == json.loads(BASELINE.read_text())


def test_a_query_a_row_is_caught() -> None:
    """The control: a read that asks once a row is told apart."""

    def careless(team: Team) -> int:
        for member in Membership.objects.filter(team=team):
            member.actor.username  # noqa: B018  (this asks)
        return 200

    team = make_team()
    before = queries(lambda: careless(team))
    make_agent(team)
    assert len(queries(lambda: careless(team))) == len(before) + 1
