"""Decisions after they were made: superseded, revoked, judged; and what of it the team learns."""

from functools import partial
from typing import Any

import pytest

from escalations.actions import claims
from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.actions import decisions
from tests.support.api import Api, at_once, make_api
from tests.support.decisions import NEW, WHY, decide, judge, make_stranger, revoke, supersede
from tests.support.factories import Person
from tests.support.ledger import events_of

CONFIDENTIAL = Sensitivity.CONFIDENTIAL
NONE = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def task(api: Api) -> str:
    api.make("tasks", {"key": "t", "title": "T", "metadata": {"channel": "mail"}})
    return "t"


def events(team: Team, kind: str = "decision.") -> list[tuple[str, str, dict[str, Any]]]:
    return [(event.type, str(event.row_id), event.data) for event in events_of(team.id, kind)]


def listed(api: Api, row: str) -> Any:
    (found,) = [one for one in api.results("decisions") if one["id"] == row]
    return found


def test_superseding_replaces_and_both_tell_of_each_other(team: Team, api: Api) -> None:
    old = decide(api).data
    reply = supersede(api, old["id"], client_ref="r")
    assert reply.status == 201
    made = reply.data
    assert made.items() >= {**NEW, "task": "t", "status": "active", "supersedes": old["id"], "client_ref": "r"}.items()
    assert listed(api, old["id"]) == {
        **{name: value for name, value in old.items() if name != "duplicate"},
        "status": "superseded",
        "superseded_by": made["id"],
    }
    assert [row["id"] for row in api.results("decisions?status=superseded")] == [old["id"]]
    assert [row["id"] for row in api.results("decisions?status=active")] == [made["id"]]
    assert api.get("decisions?status=old").status == 400
    assert events(team)[1:] == [("decision.supersede", made["id"], {"supersedes": old["id"]})]


def test_what_is_no_longer_active_is_neither_superseded_nor_revoked(team: Team, api: Api) -> None:
    replaced, withdrawn = decide(api).data["id"], decide(api).data["id"]
    assert supersede(api, replaced).status == 201
    assert revoke(api, withdrawn).status == 200
    before = events(team)
    for row, state in ((replaced, "superseded"), (withdrawn, "revoked")):
        for reply in (supersede(api, row), revoke(api, row)):
            assert reply.refusal == (409, "wrong_state")
            assert reply.data["state"] == state
        assert supersede(api, row, decision=" ").refusal == (400, "invalid")  # the body is looked at first
        assert api.post(f"decisions/{row}/revoke", {}).refusal == (400, "invalid")
    assert events(team) == before


def test_the_action_key_passes_on_unless_another_is_given(api: Api) -> None:
    old = decide(api, action_key="refund:1").data["id"]
    made = supersede(api, old).data
    assert made["action_key"] == "refund:1"
    assert decide(api, action_key="refund:1").refusal == (409, "action_conflict")
    again = supersede(api, made["id"], action_key="refund:2").data
    assert again["action_key"] == "refund:2"
    assert decide(api, action_key="refund:1").status == 201  # which is free again
    refused = supersede(api, again["id"], action_key="refund:1")
    assert (refused.refusal, refused.data["held_by"]) == ((409, "action_conflict"), api.name)
    assert listed(api, again["id"])["status"] == "active"  # what was refused has changed nothing


def test_revoking_frees_the_action_key_and_keeps_why(api: Api) -> None:
    row = decide(api, action_key="refund:1").data["id"]
    done = revoke(api, row)
    assert (done.status, done.data["status"], done.data["revoke_reason"]) == (200, "revoked", WHY["reason"])
    assert done.data["reasoning"] == "It is due."
    assert decide(api, action_key="refund:1").status == 201


def test_of_several_at_once_one_supersedes_or_revokes(team: Team, api: Api) -> None:
    old = decide(api, action_key="refund:1").data["id"]
    calls = [partial(supersede, make_api(team), old) for _ in range(3)]
    got = at_once(*calls, *(partial(revoke, make_api(team), old) for _ in range(3)))
    assert sorted(reply.status for reply in got) in ([200, *[409] * 5], [201, *[409] * 5])
    assert {reply.code for reply in got} == {None, "wrong_state"}
    assert len([kind for kind, *_ in events(team) if kind != "decision.record"]) == 1
    assert len(api.results("decisions?status=active")) in (0, 1)


def test_a_repeated_client_ref_supersedes_once(api: Api) -> None:
    old = decide(api).data["id"]
    got = at_once(*(partial(supersede, api, old, client_ref="r") for _ in range(4)))
    assert sorted(reply.status for reply in got) == [200, 200, 200, 201]
    assert len({reply.data["id"] for reply in got}) == 1
    assert all(reply.data["duplicate"] == (reply.status == 200) for reply in got)


def test_a_decision_cannot_rest_on_what_it_replaces(team: Team, api: Api) -> None:
    seen = api.make("observations", {"content": "x", "task": "t"})["id"]
    first = decide(api).data["id"]
    second = supersede(api, first, based_on=[seen]).data["id"]
    before = events(team)
    for base in (second, first):  # what it replaces, and what that one has replaced
        reply = supersede(api, second, based_on=[seen, base])
        assert reply.refusal == (400, "invalid")
        assert [(fault["pointer"], fault["code"]) for fault in reply.data["errors"]] == [("/based_on/1", "circular")]
    assert events(team) == before
    other = decide(api, based_on=[first]).data["id"]
    assert supersede(api, second, based_on=[other]).status == 201


def test_what_a_new_one_rests_on_must_be_visible(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    hidden = high.make("observations", {"content": "x", "task": "t", "sensitivity": "confidential"})["id"]
    old = decide(api).data["id"]
    replies = [supersede(api, old, based_on=[row]) for row in (hidden, NONE)]
    assert [reply.refusal for reply in replies] == [(404, "not_found")] * 2
    assert listed(api, old)["status"] == "active"


def test_hidden_and_absent_are_the_same(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    hidden = decide(high, sensitivity="confidential").data["id"]
    foreign = decide(make_stranger()).data["id"]
    for verb in (supersede, revoke, judge):
        answers = [verb(api, row) for row in (NONE, hidden, foreign)]
        assert [reply.refusal for reply in answers] == [(404, "not_found")] * 3
        assert len({str({**reply.data, "request_id": ""}) for reply in answers}) == 1
    assert listed(high, hidden)["status"] == "active"


def test_the_label_is_at_least_that_of_the_one_replaced(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL, ["finance"])
    old = decide(high, sensitivity="confidential", compartments=["finance"]).data
    assert supersede(high, old["id"], sensitivity="internal").refusal == (403, "forbidden")
    made = supersede(high, old["id"]).data
    assert (made["sensitivity"], made["compartments"]) == ("confidential", ["finance"])


def test_what_replaced_it_is_named_only_to_who_may_see_it(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    old = decide(api).data["id"]
    made = supersede(high, old, sensitivity="confidential").data["id"]
    assert listed(api, old).items() >= {"status": "superseded", "superseded_by": None}.items()
    assert listed(high, old)["superseded_by"] == made
    assert events(team)[1:] == [
        ("decision.supersede", made, {"supersedes": old}),
        ("decision.superseded", old, {}),  # of the other label, and so without a word of the new one
    ]


def test_while_a_person_has_the_task_agents_decide_nothing(team: Team, api: Api, person: Person) -> None:
    row = decide(api).data["id"]
    asked = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    claims.claim(person.viewer, escalation_id=api.make("escalations", asked)["id"])
    for reply in (supersede(api, row), revoke(api, row)):
        assert (reply.refusal, reply.data["held_by"]) == ((409, "human_owned"), person.name)
    assert judge(api, row).status == 200  # which decides nothing
    decisions.revoke(person.viewer, decision_id=row, reason="Not that one.")
    assert listed(api, row)["status"] == "revoked"


def test_a_token_that_is_brought_must_be_the_current_one(team: Team, api: Api) -> None:
    old = api.make("tasks/t/claim")["token"]
    api.make("tasks/t/release", {"token": old})
    token = api.make("tasks/t/claim")["token"]
    row = decide(api).data["id"]
    assert supersede(api, row, token=old).refusal == (409, "lease_lost")
    assert api.post(f"decisions/{row}/revoke", {**WHY, "token": old}).refusal == (409, "lease_lost")
    assert api.post(f"decisions/{row}/revoke", {**WHY, "token": token}).status == 200


@pytest.mark.parametrize(("outcome", "signal"), [("worked", "success"), ("failed", "failure")])
def test_an_outcome_becomes_a_learning(team: Team, api: Api, outcome: str, signal: str) -> None:
    row = decide(api, decision={"do": "refund", "amount": 80}).data["id"]
    other = make_api(team)
    told = judge(other, row, outcome, note="It arrived.").data
    assert told.items() >= {"outcome": outcome, "outcome_note": "It arrived.", "status": "active"}.items()
    (learnt,) = api.results("learnings")
    assert learnt.items() >= {"signal_type": signal, "source": row, "task": "t", "author": other.name}.items()
    assert learnt["details"] == {
        "decision": {"do": "refund", "amount": 80},
        "reasoning": "It is due.",
        "outcome": outcome,
        "note": "It arrived.",
    }
    assert learnt["context"] == {"channel": "mail", "do": "refund", "amount": 80}
    (found,) = api.post("learnings/relevant", {"context": {"do": "refund"}}).data["results"]
    assert found["id"] == learnt["id"]


def test_the_last_word_on_an_outcome_counts_and_the_same_changes_nothing(team: Team, api: Api) -> None:
    row = decide(api, decision={"do": "refund"}).data["id"]
    judge(api, row)
    judge(api, row)
    assert [kind for kind, *_ in events(team)] == ["decision.record", "decision.outcome"]
    other = make_api(team)
    revoke(api, row)
    assert judge(other, row, "failed", note="It bounced.").data["outcome"] == "failed"
    (learnt,) = api.results("learnings")
    assert (learnt["signal_type"], learnt["details"]["note"]) == ("failure", "It bounced.")
    assert learnt["author"] == other.name
    (found,) = api.post("learnings/relevant", {"context": {}, "q": "bounced"}).data["results"]
    assert found["id"] == learnt["id"]
    assert [kind for kind, *_ in events(team, "learning.")] == ["learning.log", "learning.change"]


def test_of_outcomes_told_at_once_one_learning_is_made(team: Team, api: Api) -> None:
    row = decide(api).data["id"]
    calls = [partial(judge, make_api(team), row, outcome) for outcome in ("worked", "failed") * 2]
    assert [reply.status for reply in at_once(*calls)] == [200] * 4
    (learnt,) = api.results("learnings")
    signals = {"worked": "success", "failed": "failure"}
    assert learnt["signal_type"] == signals[listed(api, row)["outcome"]]


def test_a_confidential_decision_changes_sealed_and_teaches_whom_it_may(team: Team, api: Api, owner_sql: Any) -> None:
    high = make_api(team, CONFIDENTIAL)
    row = decide(high, decision={"client": "Zanzibar"}, sensitivity="confidential").data["id"]
    judge(high, row, note="Zanzibar paid.")
    assert revoke(high, row).data.items() >= {"outcome_note": "Zanzibar paid.", "revoke_reason": WHY["reason"]}.items()
    (learnt,) = high.results("learnings")
    assert (learnt["sensitivity"], learnt["context"]["client"]) == ("confidential", "Zanzibar")
    (found,) = high.post("learnings/relevant", {"context": {"client": "zanzibar"}}).data["results"]
    assert found["matched"] == [{"match": "exact", "key": "client"}]
    assert api.results("learnings") == []
    assert api.post("learnings/relevant", {"context": {"client": "zanzibar"}}).data["results"] == []
    stored = owner_sql.execute("select body from learning where id = %s", [learnt["id"]]).fetchone()
    assert stored == (None,)


def test_a_tasks_metadata_do_not_come_down_into_a_learning(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "s", "title": "S", "metadata": {"secret": "merger"}, "sensitivity": "confidential"})
    row = decide(high, "s", sensitivity="internal").data["id"]
    judge(high, row)
    (learnt,) = api.results("learnings")
    assert (learnt["context"], learnt["task"]) == ({"do": "refund"}, None)
    # Of a task that one may not see nothing is decided, though the decision itself is visible.
    assert revoke(api, row).refusal == (404, "not_found")
    assert judge(api, row, "failed").status == 200
