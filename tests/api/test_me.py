from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.factories import make_team


def test_me_tells_who_the_key_is(team: Team) -> None:
    api = make_api(team, Sensitivity.CONFIDENTIAL, ["pii", "finance"], scopes=["tasks", "memory:read"])
    reply = api.get("me")
    assert reply.status == 200
    assert api.agent is not None
    assert reply.data == {
        "actor": {"id": str(api.agent.membership.actor_id), "name": api.name, "kind": "agent"},
        "team": team.slug,
        "role": "agent",
        "life": 0,
        "clearance": "confidential",
        "compartments": ["finance", "pii"],
        "scopes": ["memory:read", "tasks"],
    }
    assert reply.headers["Cache-Control"] == "no-store"


def test_me_needs_no_scope(team: Team) -> None:
    assert make_api(team, scopes=["import"]).get("me").status == 200


def test_agents_lists_the_team_with_what_each_holds(team: Team, api: Api) -> None:
    other = make_api(team, group="research")
    make_api(make_team())  # of another team
    api.make("tasks", {"key": "held", "title": "Held"})
    api.make("tasks", {"key": "free", "title": "Free"})
    other.make("tasks/held/claim")
    rows = {row["name"]: row for row in api.results("agents")}
    assert set(rows) == {api.name, other.name}
    assert rows[other.name]["holds"] == ["held"]
    assert (rows[other.name]["role"], rows[other.name]["group"]) == ("agent", "research")
    assert rows[other.name]["last_seen_at"]
    assert rows[api.name]["holds"] == []


def test_agents_does_not_name_a_hidden_task(team: Team, api: Api) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    high.make("tasks", {"key": "secret", "title": "Secret", "sensitivity": "confidential"})
    high.make("tasks/secret/claim")
    assert {row["name"]: row["holds"] for row in api.results("agents")}[high.name] == []
    assert {row["name"]: row["holds"] for row in high.results("agents")}[high.name] == ["secret"]


def test_agents_pages_by_name_in_both_directions(team: Team, api: Api) -> None:
    for number in range(4):
        make_api(team, name=f"z-{number}")
    first = api.get("agents?limit=2").data
    second = api.get(first["next"]).data
    third = api.get(second["next"]).data
    names = [row["name"] for part in (first, second, third) for row in part["results"]]
    assert names == sorted(names)
    assert len(names) == 5
    assert third["next"] is None
    assert api.get(second["previous"]).data["results"] == first["results"]
