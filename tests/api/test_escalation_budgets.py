"""What one agent may leave with people: open escalations, urgent ones, notes. Each budget is set low here."""

from typing import Any

import pytest

from memoryhub.core.models import Team
from tests.support.api import Api, Reply, at_once, make_api


def ask(api: Api, task: str, **fields: Any) -> Reply:
    api.post("tasks", {"key": task, "title": task})
    return api.post("escalations", {"task": task, "reason_code": "other", "reason": "r", "question": "q", **fields})


def test_an_agent_has_so_many_open_and_no_more(team: Team, api: Api, settings: Any) -> None:
    settings.OPEN_ESCALATIONS = 3
    rows = [ask(api, f"t{number}").data["id"] for number in range(3)]
    refused = ask(api, "t3")
    assert refused.refusal == (429, "too_many_requests")
    assert int(refused.headers["Retry-After"]) > 0
    assert "3 open escalations" in refused.data["detail"]
    assert api.get("tasks/t3").data["status"] == "open"
    assert ask(api, "t0").status == 200  # what is open is answered as before
    assert ask(make_api(team), "t3").status == 201  # each has its own
    api.make(f"escalations/{rows[0]}/cancel", {"reason": "Solved."})
    assert ask(api, "t4").status == 201


def test_of_several_at_once_none_is_one_too_many(api: Api, settings: Any) -> None:
    settings.OPEN_ESCALATIONS = 2
    for number in range(5):
        api.make("tasks", {"key": f"t{number}", "title": "T"})
    got = at_once(*(lambda number=number: ask(api, f"t{number}").status for number in range(5)))
    assert sorted(got) == [201, 201, 429, 429, 429]


def test_too_many_urgent_ones_are_taken_as_high_and_said_so(team: Team, api: Api, settings: Any) -> None:
    settings.URGENT_ESCALATIONS = 2
    first = [ask(api, f"t{number}", priority="urgent").data for number in range(2)]
    assert [(row["priority"], row.get("priority_lowered")) for row in first] == [("urgent", None)] * 2
    third = ask(api, "t2", priority="urgent")
    assert (third.status, third.data["priority"], third.data["priority_lowered"]) == (201, "high", True)
    seen = api.get(f"escalations/{third.data['id']}").data
    assert (seen["priority"], seen["priority_lowered"]) == ("high", True)
    assert ask(api, "t3", priority="low").data["priority"] == "low"
    assert ask(make_api(team), "t4", priority="urgent").data["priority"] == "urgent"
    api.make(f"escalations/{first[0]['id']}/cancel", {"reason": "Solved."})
    assert ask(api, "t5", priority="urgent").data["priority"] == "urgent"


def test_the_defaults_are_as_stated(settings: Any) -> None:
    stated = (settings.OPEN_ESCALATIONS, settings.URGENT_ESCALATIONS, settings.ESCALATION_NOTES)
    assert stated == (1000, 20, 100)


def test_asking_again_writes_so_many_notes_and_no_more(team: Team, api: Api, settings: Any) -> None:
    settings.ESCALATION_NOTES = 2
    first = ask(api, "t", client_ref="r").data["id"]
    other = make_api(team)
    assert [ask(who, "t").status for who in (api, other, api, other)] == [200, 200, 429, 429]
    assert ask(api, "t", client_ref="r").data["id"] == first  # repeating what was asked adds nothing


@pytest.mark.parametrize("limit", [1, 3])
def test_an_import_stays_within_the_budget_too(team: Team, settings: Any, limit: int) -> None:
    settings.OPEN_ESCALATIONS = limit
    api = make_api(team, scopes=["import"])
    call = {"id": "c", "type": "function", "function": {"name": "transfer_to_human_agents", "arguments": "{}"}}
    messages = [{"role": "user", "content": "Help."}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    runs = [{"task_id": f"run-{number}", "messages": messages} for number in range(3)]
    reply = api.post("import/trajectories", {"runs": runs})
    statuses = [result["status"] for result in reply.data["results"]]
    assert statuses == ["created"] * limit + ["error"] * (3 - limit)
    assert [result["error"]["code"] for result in reply.data["results"] if result["status"] == "error"] == [
        "too_many_requests"
    ] * (3 - limit)
