"""Every door where rows are confidential, where what was observed is private, and where there is nothing yet."""

from typing import Any

import pytest

from agents.models import Scope
from memoryhub.core.models import Team
from tests.support.api import make_api
from tests.support.endpoints import BODIES, DOORS, QUERIES, READERS, ROWS, WRITERS, Door, make_world

CONFIDENTIAL = {"sensitivity": "confidential", "compartments": ["finance"]}
NONE = "0198c0de-0000-7000-8000-000000000000"
WORLDS: dict[str, dict[str, Any]] = {"confidential": {"label": CONFIDENTIAL}, "private": {"private": True}}
# What finds nothing in an unsealed text of a confidential task: claim-next takes sealed tasks by their key only.
SEALED = {"tasks/claim-next": 204}


@pytest.mark.parametrize("kind", WORLDS)
def test_every_read_is_answered(team: Team, kind: str) -> None:
    world = make_world(team, **WORLDS[kind])
    for door in READERS:
        reply = world.get(door, QUERIES.get(door.path, ""))
        assert reply.status == 200, (door, reply)
        assert "unavailable" not in str(reply.data), (door, "a sealed text was not opened")


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("door", WRITERS, ids=str)
def test_every_write_is_done(team: Team, door: Door, kind: str) -> None:
    world = make_world(team, **WORLDS[kind])
    body = {name: value for name, value in BODIES[door.path].items() if name not in ("sensitivity", "compartments")}
    reply = world.send(door, body)
    due = {SEALED.get(door.path)} if kind == "confidential" and door.path in SEALED else {200, 201}
    assert reply.status in due, reply
    if kind == "confidential" and reply.status == 201 and "sensitivity" in reply.data and "task" in body:
        assert reply.data["sensitivity"] == "confidential", "what is said of a confidential task is confidential, too"


def test_a_confidential_task_has_its_context(team: Team) -> None:
    world = make_world(team, CONFIDENTIAL)
    found = world.api.get("tasks/free/context").data
    assert [row["content"] for row in found["observations"]] == ["seen"]
    assert [row["decision"] for row in found["decisions"]] == ["free"]
    assert [row["details"] for row in found["learnings"]] == ["learned"]


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_an_empty_team_has_nothing_and_says_so(team: Team, door: Door) -> None:
    api = make_api(team, scopes=Scope.values)
    keys = ("free", "held", "done", "fact")  # the others are ids
    rows = {row: "none" if row in keys else NONE for row in ROWS.values()}
    path = door.path.format(**rows)
    if door.reads:
        reply = api.get(path + QUERIES.get(door.path, ""))
        assert reply.status == (404 if "{" in door.path else 200), reply
        if reply.status == 200 and "results" in reply.data and door.path not in ("agents", "insights"):
            assert reply.data["results"] == []
    if door.method and "{" in door.path:
        headers = {"If-Match": f'"{NONE}.1"'} if door.method in ("PATCH", "PUT") else {}
        reply = api.send(door.method, path, BODIES[door.path] | {}, headers=headers)
        assert reply.refusal == (404, "not_found"), reply


@pytest.mark.parametrize("noun", ["observations", "decisions", "learnings", "alerts"])
def test_a_row_is_read_as_its_list_shows_it(team: Team, noun: str) -> None:
    world = make_world(team)
    row = next(iter(world.api.results(noun)))
    reply = world.api.get(f"{noun}/{row['id']}")
    assert (reply.status, reply.data) == (200, row)


@pytest.mark.parametrize("noun", ["observations", "decisions", "learnings", "alerts"])
def test_a_hidden_row_is_absent(team: Team, noun: str) -> None:
    world = make_world(team, CONFIDENTIAL, private=True)
    low = make_api(team)
    row = world.rows[{"observations": "seen", "decisions": "decided", "learnings": "learned", "alerts": "alert"}[noun]]
    hidden, absent = low.get(f"{noun}/{row}"), low.get(f"{noun}/{NONE}")
    assert hidden.status == absent.status == 404
    assert hidden.data | {"request_id": ""} == absent.data | {"request_id": ""}


def test_anothers_private_observation_is_absent(team: Team) -> None:
    world = make_world(team, private=True)
    assert make_api(team).get(f"observations/{world.rows['seen']}").refusal == (404, "not_found")


def test_reading_a_confidential_row_is_recorded(team: Team, owner_sql: Any) -> None:
    world = make_world(team, CONFIDENTIAL)
    for noun, row in (("observations", "seen"), ("decisions", "decided"), ("learnings", "learned")):
        world.api.get(f"{noun}/{world.rows[row]}")
        count = "select count(*) from access_log where row_id = %s and reader_id = %s and reason = 'confidential'"
        readings = owner_sql.execute(count, [world.rows[row], world.api.agent.membership.id]).fetchone()
        assert readings is not None
        assert readings[0] >= 1, noun
