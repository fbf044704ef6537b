"""Who asks for what another has asked already; what a key's scopes let it read of a package; who is told what."""

from uuid import UUID

import pytest

from escalations.actions import answers, claims
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.escalations import ACTION, answer
from tests.support.factories import Person

ASKED = {"task": "t", "reason_code": "other", "reason": "r", "question": "q", "allowed": ["approve", "edit", "respond"]}
ASKED |= {"action": ACTION}


@pytest.fixture(autouse=True)
def row(api: Api) -> UUID:
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("observations", {"content": "seen", "task": "t"})
    api.make("decisions", {"task": "t", "decision": "d", "reasoning": "r"})
    api.send("PUT", "facts/f", {"value": 1, "task": "t"}, headers={"If-None-Match": "*"})
    api.make("learnings", {"signal_type": "pattern", "details": "l", "context": {}, "task": "t"})
    return UUID(api.make("escalations", ASKED)["id"])


@pytest.mark.parametrize("verdict", ["approve", "edit", "respond"])
def test_who_joins_anothers_request_gets_words_and_no_decision(
    team: Team, api: Api, person: Person, row: UUID, verdict: str
) -> None:
    joined, third = make_api(team), make_api(team)
    for _ in range(2):
        second = joined.post("escalations", {**ASKED, "reason": "I, too.", "client_ref": "mine"})
        assert (second.status, second.data["id"], second.data["joined"]) == (200, str(row), True)
    assert "joined" not in api.post("escalations", ASKED).data
    claims.claim(person.viewer, escalation_id=row)
    more = {"arguments": {"order": "o-2"}} if verdict == "edit" else {}
    answers.decide(
        person.viewer, escalation_id=row, verdict=verdict, message="Yes.", done="Called.", next="Wait.", **more
    )
    own = answer(api, row)
    assert (own["outcome"], own["decision"], "action" in own) == ("answered", verdict, verdict != "respond")
    for other in (joined, third):
        got = answer(other, row)
        assert (got["outcome"], got["decision"], got["by"]) == ("answered_other", None, person.name)
        assert (got["message"], got["done"], got["next"]) == ("Yes.", "Called.", "Wait.")
        assert not {"action", "decisions"} & got.keys()
        assert "o-2" not in str(got)
        assert other.post(f"escalations/{row}/acknowledge").refusal == (409, "not_owner")
        assert other.post(f"escalations/{row}/cancel", {"reason": "x"}).refusal in (
            (409, "not_owner"),
            (409, "wrong_state"),
        )


def test_who_joined_hears_that_it_was_cancelled_or_finished(team: Team, api: Api, person: Person, row: UUID) -> None:
    joined = make_api(team)
    joined.make("escalations", ASKED)
    claims.claim(person.viewer, escalation_id=row)
    answers.finish(person.viewer, escalation_id=row, done="Paid by hand.")
    got = answer(joined, row)
    assert (got["outcome"], got["decision"], got["done"]) == ("finished", None, "Paid by hand.")
    api.make("tasks", {"key": "u", "title": "U"})
    other = UUID(api.make("escalations", {**ASKED, "task": "u"})["id"])
    api.make(f"escalations/{other}/cancel", {"reason": "Solved."})
    assert (answer(joined, other)["outcome"], answer(joined, other)["decision"]) == ("cancelled", None)


# Scopes

PARTS = {"observations", "decisions", "facts", "learnings"}


@pytest.mark.parametrize(
    ("scopes", "read", "omitted"),
    [
        (["escalations"], set(), ["memory:read", "tasks"]),
        (["escalations", "memory:write"], set(), ["memory:read", "tasks"]),
        (["escalations", "tasks"], {"task"}, ["memory:read"]),
        (["escalations", "memory:read"], PARTS, ["tasks"]),
        (["escalations", "memory:read", "tasks"], {"task", *PARTS}, None),
    ],
)
def test_a_package_holds_what_the_scopes_may_read(
    team: Team, row: UUID, scopes: list[str], read: set[str], omitted: list[str] | None
) -> None:
    key = make_api(team, scopes=scopes)
    made = key.post("escalations", ASKED).data["package"]
    asked = key.get(f"escalations/{row}/package").data
    pages = [made, asked, key.get(f"escalations/{row}/package?limit=1").data]
    for package in pages:
        context = package["full_context"]
        assert {name for name in ("task", *PARTS) if name in context} == {"task", *PARTS}  # the keys stay
        assert package.get("omitted") == omitted
        assert (package["reason"], package["task_id"], context["status"]) == ("r", "t", "queued")
    for package in pages[:2]:
        found = {name for name in ("task", *PARTS) if package["full_context"][name]}
        assert found == read


# When an agent was there


def test_when_an_agent_was_there_is_told_to_who_is_cleared_for_as_much(team: Team, api: Api) -> None:
    secret = make_api(team, Sensitivity.CONFIDENTIAL)
    finance = make_api(team, Sensitivity.INTERNAL, ["finance"])
    for who in (secret, finance, api):
        who.get("me")
    low = {agent["name"]: agent["last_seen_at"] is not None for agent in api.results("agents")}
    assert (low[api.name], low[secret.name], low[finance.name]) == (True, False, False)
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])
    told = {agent["name"]: agent["last_seen_at"] is not None for agent in high.results("agents")}
    assert told == {api.name: True, secret.name: True, finance.name: True, high.name: True}
