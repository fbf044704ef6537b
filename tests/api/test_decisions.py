from functools import partial
from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, at_once, make_api
from tests.support.decisions import decide, make_stranger

pytestmark = pytest.mark.usefixtures("task")

CONFIDENTIAL = Sensitivity.CONFIDENTIAL


def test_record_answers_the_row(api: Api) -> None:
    seen = api.make("observations", {"content": "x", "task": "t"})["id"]
    reply = decide(api, based_on=[seen], action_key="refund:order-1", client_ref="r")
    assert reply.status == 201
    expected = {"task": "t", "decision": {"do": "refund"}, "reasoning": "It is due.", "based_on": [seen]}
    assert reply.data.items() >= {**expected, "action_key": "refund:order-1", "client_ref": "r"}.items()
    assert reply.data.items() >= {"status": "active", "author": api.name, "sensitivity": "internal"}.items()
    (listed,) = api.results("decisions?task=t")
    assert {**listed, "duplicate": False} == reply.data
    then = decide(api, based_on=[seen, reply.data["id"]])  # a decision may rest on one before it
    assert then.data["based_on"] == [seen, reply.data["id"]]


def test_the_task_must_exist_and_be_visible(team: Team, api: Api) -> None:
    make_api(team, CONFIDENTIAL).make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    assert decide(api, "none").refusal == (404, "not_found")
    assert decide(api, "s").data["detail"] == decide(api, "none").data["detail"]
    assert decide(api, "s").refusal == (404, "not_found")


def test_a_repeated_client_ref_is_a_duplicate(api: Api) -> None:
    first = decide(api, client_ref="r", action_key="k").data
    again = decide(api, client_ref="r", action_key="k", reasoning="other")
    assert (again.status, again.data) == (200, {**first, "duplicate": True})
    assert len(api.results("decisions")) == 1


def test_an_active_action_key_is_unique_in_the_team(team: Team, api: Api) -> None:
    other = make_api(team)
    other.make("tasks", {"key": "u", "title": "U"})
    first = decide(api, action_key="refund:1").data
    reply = decide(other, "u", action_key="refund:1")
    assert reply.refusal == (409, "action_conflict")
    assert (reply.data["decision"], reply.data["held_by"]) == (first["id"], api.name)
    assert decide(other, "u", action_key="refund:2").status == 201
    assert decide(make_stranger(), "t", action_key="refund:1").status == 201


def test_an_action_conflict_names_the_holder_only_to_who_may_see_it(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    held = decide(high, sensitivity="confidential", action_key="refund:1").data
    reply = decide(api, action_key="refund:1")
    assert reply.refusal == (409, "action_conflict")
    assert not {"decision", "held_by"} & reply.data.keys()
    for told in (held["id"], high.name, "refund:order"):
        assert told not in str(reply.data)
    assert decide(make_api(team, CONFIDENTIAL), action_key="refund:1").data["decision"] == held["id"]


def test_of_several_at_once_with_one_action_key_one_is_recorded(team: Team, api: Api) -> None:
    got = at_once(*(partial(decide, make_api(team), action_key="refund:1") for _ in range(4)))
    assert sorted(reply.refusal for reply in got) == [(201, None), *[(409, "action_conflict")] * 3]
    assert len(api.results("decisions")) == 1


def test_what_it_rests_on_must_be_visible(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    hidden = high.make("observations", {"content": "x", "task": "t", "sensitivity": "confidential"})["id"]
    foreign = make_stranger().make("observations", {"content": "x"})["id"]
    replies = [decide(api, based_on=[row]) for row in (hidden, foreign, "0198c0de-0000-7000-8000-000000000000")]
    assert [reply.refusal for reply in replies] == [(404, "not_found")] * 3
    assert len({reply.data["detail"] for reply in replies}) == 1
    seen = api.make("observations", {"content": "x"})["id"]
    assert decide(api, based_on=[seen, hidden]).status == 404
    assert api.results("decisions") == []


def test_the_label_is_at_least_the_highest_of_what_it_rests_on(team: Team) -> None:
    high = make_api(team, CONFIDENTIAL, ["finance", "pii"])
    finance = high.make("observations", {"content": "x", "sensitivity": "public", "compartments": ["finance"]})["id"]
    sealed = high.make("observations", {"content": "x", "sensitivity": "confidential"})["id"]
    made = decide(high, based_on=[finance, sealed]).data
    assert (made["sensitivity"], made["compartments"]) == ("confidential", ["finance"])
    for low in ({"sensitivity": "internal"}, {"sensitivity": "confidential", "compartments": ["pii"]}):
        assert decide(high, based_on=[finance, sealed], **low).refusal == (403, "forbidden")
    above = {"sensitivity": "confidential", "compartments": ["pii", "finance"]}
    assert decide(high, based_on=[finance, sealed], **above).data["compartments"] == ["finance", "pii"]
    # The levels count for a chain, too.
    assert decide(high, based_on=[made["id"]]).data["sensitivity"] == "confidential"


def test_no_write_up(api: Api) -> None:
    assert decide(api, sensitivity="confidential").refusal == (403, "forbidden")
    assert decide(api, compartments=["finance"]).refusal == (403, "forbidden")


def test_a_token_that_is_brought_must_be_the_current_one(team: Team, api: Api) -> None:
    old = api.make("tasks/t/claim")["token"]
    api.make("tasks/t/release", {"token": old})
    token = api.make("tasks/t/claim")["token"]
    assert decide(api, token=token).status == 201
    assert decide(api, token=old).refusal == (409, "lease_lost")
    assert decide(make_api(team), token=token).refusal == (409, "lease_lost")
    assert len(api.results("decisions")) == 1


def test_list_filters_and_pages(team: Team, api: Api) -> None:
    other = make_api(team)
    api.make("tasks", {"key": "u", "title": "U"})
    rows = [decide(api, decision=str(number)).data for number in range(3)]
    decide(other, "u", decision="theirs")

    def found(query: str) -> list[Any]:
        return [row["decision"] for row in api.results(f"decisions?{query}")]

    assert found("") == ["theirs", "2", "1", "0"]
    assert found("task=t") == ["2", "1", "0"]
    assert found("exclude_own=true") == found(f"agent={other.name}") == ["theirs"]
    assert found(f"after_seq={rows[1]['seq']}") == ["theirs", "2"]
    assert found(f"since={rows[1]['created_at']}&until={rows[2]['created_at']}") == ["1"]
    first = api.get("decisions?task=t&limit=2").data
    second = api.get(first["next"]).data
    assert [row["decision"] for row in second["results"]] == ["0"]
    assert api.get(second["previous"]).data["results"] == first["results"]
    assert api.get("decisions?tags=x").status == 400  # a filter that is not here
