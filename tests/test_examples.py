"""The stories of docs/examples, as told there: over HTTP, with a key each, against the running product."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from agents.models import DEFAULT_SCOPES, Scope
from memoryhub.core.models import Sensitivity, Team
from tests.support import servers
from tests.support.desk_world import browser_of, post
from tests.support.factories import make_agent, make_person, make_team
from tests.support.web import Server

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "examples"))

import prospecting
import researching
import selling
import supporting
from hub import Hub

RIGHTS = {"pricing": (Sensitivity.CONFIDENTIAL, ["finance"])}


@pytest.fixture
def team() -> Team:
    return make_team("story")


def hubs(server: Server, team: Team, *names: str) -> dict[str, Hub]:
    """As docs/examples/keys.sh makes them: each agent is of the group of its name."""
    scopes = [*DEFAULT_SCOPES, Scope.INSIGHTS_READ]
    made = {}
    for name in names:
        clearance, compartments = RIGHTS.get(name, (Sensitivity.INTERNAL, []))
        agent = make_agent(team, clearance, compartments, name=name, group=name, scopes=scopes)
        made[name] = Hub(agent.key, server.url)
    return made


def test_prospecting(server: Server, team: Team) -> None:
    came = prospecting.run(**hubs(server, team, "outreach", "research", "sales"))
    assert came["profile"]["value"] == {
        "company": "Acme Outdoor",
        "contact": "Dana Cole",
        "shops": 14,
        "company_size": "mid",
    }
    assert came["profile"]["version"] == 2
    assert came["private"] == []
    assert came["conflict"]["code"] == "action_conflict"
    assert came["conflict"]["held_by"] == "sales"
    assert [row["signal_type"] for row in came["learned"]] == ["success"]
    assert came["heard"] == [came["alert"]]
    assert [(one["name"], bool(one["acknowledged_at"])) for one in came["receipts"]] == [("outreach", True)]


def test_selling(server: Server, team: Team) -> None:
    came = selling.run(**hubs(server, team, "sales", "inventory", "pricing"))
    assert (came["leaked"], came["accepted"]) == (False, True)
    assert sorted(came["reserved"]) == [False, True]
    assert came["stock"]["free"] == 0
    assert len(came["stock"]["reserved_by"]) == 1
    assert came["versions"] == [2, 1]
    assert (came["status"], came["fenced"]) == ("done", "lease_lost")


def test_researching(server: Server, worker: servers.Process, team: Team) -> None:
    came = researching.run(**hubs(server, team, "outreach", "research", "sales"))
    assert sorted(came["worked"]) == ["market", "risk", "supply"]
    assert came["nothing"] is None
    assert len(came["events"]) == 3
    assert [event["seq"] for event in came["events"]] == sorted(event["seq"] for event in came["events"])
    assert "failed the hydrostatic test" in came["hits"]["which fabric failed the test?"][0]
    assert len(came["hits"]["RS-2210"]) == 2
    assert came["superseded"] == "superseded"
    assert came["better"]["supersedes"] == came["plan"]
    assert came["relevant"] == [came["lesson"]]


def test_supporting(server: Server, team: Team) -> None:
    person = make_person(team)
    hub = hubs(server, team, "intake")["intake"]

    def act() -> None:
        """The person: takes what comes, and approves less than was asked."""
        try:
            browser = browser_of(person, Accept="application/json")
            for _ in range(200):
                if (reply := post(browser, "/escalations/next")).status_code == 200:
                    break
                time.sleep(0.1)
            escalation = reply.json()["id"]
            decided: dict[str, Any] = {"verdict": "edit", "arguments": {"order": "H-2210", "amount": 90}}
            reply = post(browser, f"/escalations/{escalation}/decide", json.dumps(decided).encode())
            assert reply.status_code == 200, reply.content
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        came = supporting.run(hub, patience=1)
        acting.result(timeout=30)
    assert came["answer"]["decision"] == "edit"
    assert came["answer"]["by"] == person.name
    assert came["answer"]["action"]["arguments"] == {"order": "H-2210", "amount": 90}
    assert came["status"] == "done"
