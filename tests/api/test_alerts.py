"""Alerts over the public door: to whom they go, until when, and what their sender learns."""

import json
import time

import pytest

from agents.actions import agents
from agents.models import Agent
from memoryhub.core.models import AccessLog, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api, at_once, make_api
from tests.support.factories import make_person, make_team
from tests.support.ledger import events_of

INSIGHT = "Client budget cut; all deals on hold for 30 days."


@pytest.fixture
def team() -> Team:
    return make_team("alerts")


def listed(api: Api, query: str = "") -> list[str]:
    return [row["insight"] for row in api.results(f"alerts?{query}")]


def test_an_alert_is_delivered_until_it_is_acknowledged_and_its_sender_learns_when(team: Team) -> None:
    ann, ben, cid = (make_api(team, name=name) for name in ("ann", "ben", "cid"))
    made = ann.post("alerts", {"to": ["ben", "cid"], "insight": INSIGHT, "severity": "critical"})
    assert made.status == 201
    row = made.data
    assert (row["insight"], row["severity"], row["author"], row["sensitivity"]) == (
        INSIGHT,
        "critical",
        "ann",
        "internal",
    )
    assert (row["recipient_count"], row["acknowledged_count"]) == (2, 0)
    assert row["recipients"] == [{"name": name, "acknowledged_at": None} for name in ("ben", "cid")]
    for _ in range(2):
        assert listed(ben) == listed(cid) == [INSIGHT], "reading it is not acknowledging it"
    assert listed(ann) == []
    assert listed(ann, "sent=true") == [INSIGHT]
    (seen,) = ben.results("alerts")
    assert "recipients" not in seen
    assert "recipient_count" not in seen
    assert seen["acknowledged_at"] is None
    first = ben.make(f"alerts/{row['id']}/acknowledge")
    assert first["acknowledged_at"]
    assert ben.make(f"alerts/{row['id']}/acknowledge", {}) == first, "repeating it changes nothing"
    assert listed(ben) == []
    assert listed(ben, "state=acknowledged") == listed(ben, "state=all") == listed(cid) == [INSIGHT]
    shown = ann.get(f"alerts/{row['id']}").data
    assert shown["recipients"] == [
        {"name": "ben", "acknowledged_at": first["acknowledged_at"]},
        {"name": "cid", "acknowledged_at": None},
    ]
    assert shown["acknowledged_count"] == 1
    assert ann.results("alerts?sent=true")[0]["acknowledged_count"] == 1


def test_of_several_acknowledgements_at_once_one_counts(team: Team) -> None:
    ann, ben = make_api(team, name="ann"), make_api(team, name="ben")
    made = ann.make("alerts", {"to": ["ben"], "insight": INSIGHT})["id"]
    replies = at_once(*[lambda: ben.post(f"alerts/{made}/acknowledge")] * 5)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.data["acknowledged_at"] for reply in replies}) == 1
    assert events(team, "alert.acknowledge") == 1


def events(team: Team, type: str) -> int:
    return len(events_of(team.id, type))


def test_a_client_ref_sends_once_also_at_once(team: Team) -> None:
    ann, ben = make_api(team, name="ann"), make_api(team, name="ben")
    body = {"to": ["ben"], "insight": INSIGHT, "client_ref": "one"}
    replies = at_once(*[lambda: ann.post("alerts", body)] * 5)
    assert sorted(reply.status for reply in replies) == [200] * 4 + [201]
    assert len({reply.data["id"] for reply in replies}) == 1
    assert listed(ben) == [INSIGHT]
    assert events(team, "alert.send") == 1
    again = ann.post("alerts", {**body, "insight": "other"}, key="k")
    assert (again.status, again.data["insight"]) == (200, INSIGHT)


def test_a_group_and_all_leave_out_who_may_not_see_it_and_named_ones_are_refused(team: Team) -> None:
    ann = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="ann", group="research")
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance", "pii"], name="high", group="research")
    low = make_api(team, name="low", group="research")
    other = make_api(team, Sensitivity.CONFIDENTIAL, name="other")
    make_person(team, clearance=2, compartments=["finance"], name="Grace")
    secret = {"insight": INSIGHT, "sensitivity": "confidential", "compartments": ["finance"]}
    for to in ({"group": "research"}, "all"):
        made = ann.make("alerts", {"to": to, **secret})
        assert [found["name"] for found in made["recipients"]] == ["high"]
    assert listed(low) == listed(other) == []
    assert len(listed(high)) == 2
    made = ann.make("alerts", {"to": {"group": "research"}, "insight": INSIGHT})
    assert [found["name"] for found in made["recipients"]] == ["high", "low"], "not oneself"
    refused = ann.post("alerts", {"to": ["high", "low", "other"], **secret})
    assert refused.refusal == (422, "not_allowed")
    assert refused.data["names"] == ["low", "other"]
    assert len(listed(high)) == 3, "nothing was sent"
    for to, pointer in ((["high", "nobody"], "/to/1"), (["Grace"], "/to/0"), ({"group": "x"}, "/to/group")):
        absent = ann.post("alerts", {"to": to, "insight": INSIGHT})
        assert absent.refusal == (404, "not_found")
        assert absent.data["errors"][0]["pointer"] == pointer
    assert ann.post("alerts", {"to": ["ann"], "insight": INSIGHT}).refusal == (422, "not_allowed")
    assert low.post("alerts", {"to": ["high"], **secret}).refusal == (403, "forbidden")
    alone = make_api(make_team())
    assert alone.post("alerts", {"to": "all", "insight": INSIGHT}).refusal == (422, "not_allowed")


def test_an_inactive_agent_is_none(team: Team) -> None:
    ann, ben = make_api(team, name="ann"), make_api(team, name="ben")
    agent = Agent.objects.select_related("membership__actor").get(membership__team=team, membership__name="ben")
    rights = {"clearance": 1, "compartments": [], "group": "", "description": ""}
    agents.change(system_viewer(team.id), agent=agent, is_active=False, **rights)
    assert ann.post("alerts", {"to": ["ben"], "insight": INSIGHT}).refusal == (404, "not_found")
    assert ben.get("alerts").status == 401


def test_hidden_absent_and_expired_are_the_same(team: Team) -> None:
    ann, _, cid = (make_api(team, 2, name=name) for name in ("ann", "ben", "cid"))
    low = make_api(team, name="low")
    foreign = make_api(make_team(), 2)
    secret = ann.make("alerts", {"to": ["ben"], "insight": INSIGHT, "sensitivity": "confidential"})["id"]
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    passing = ann.make("alerts", {"to": ["ben", "cid"], "insight": "soon over", "expires_at": soon})["id"]
    assert listed(cid) == ["soon over"]
    for api in (cid, low, foreign):
        for refused in (api.get(f"alerts/{secret}"), api.post(f"alerts/{secret}/acknowledge")):
            assert refused.refusal == (404, "not_found")
            assert refused.data["errors"] == []
    assert ann.post(f"alerts/{secret}/acknowledge").refusal == (422, "not_allowed")
    time.sleep(2.5)
    assert listed(cid) == listed(cid, "state=all") == []
    for refused in (cid.get(f"alerts/{passing}"), cid.post(f"alerts/{passing}/acknowledge")):
        assert refused.refusal == (404, "not_found")
    assert ann.get(f"alerts/{passing}").data["recipient_count"] == 2
    past = ann.post("alerts", {"to": ["ben"], "insight": INSIGHT, "expires_at": soon})
    assert past.refusal == (400, "invalid")
    assert past.data["errors"][0]["pointer"] == "/expires_at"


def test_a_confidential_alert_is_sealed_and_reading_it_is_recorded(team: Team, owner_sql: object) -> None:
    ann, ben = make_api(team, 2, name="ann"), make_api(team, 2, name="ben")
    made = ann.make("alerts", {"to": ["ben"], "insight": "canary", "sensitivity": "confidential"})["id"]
    stored = owner_sql.execute("select body, sealed from alert where id = %s", [made]).fetchone()  # type: ignore[attr-defined]
    assert stored[0] is None
    assert b"canary" not in stored[1]
    assert ben.get(f"alerts/{made}").data["insight"] == "canary"
    with viewer_transaction(system_viewer(team.id), read_only=True):
        readers = AccessLog.objects.filter(row_type="alert", row_id=made).values_list("reader__name", flat=True)
        assert "ben" in list(readers)


def test_the_label_is_the_tasks_unless_another_is_asked_for(team: Team) -> None:
    ann, low = make_api(team, 2, ["finance"], name="ann"), make_api(team, name="low")
    make_api(team, 2, ["finance"], name="ben")
    ann.make("tasks", {"key": "t", "title": "T", "sensitivity": "confidential", "compartments": ["finance"]})
    made = ann.make("alerts", {"to": ["ben"], "insight": INSIGHT, "task": "t"})
    assert (made["sensitivity"], made["compartments"], made["task"]) == ("confidential", ["finance"], "t")
    assert ann.post("alerts", {"to": ["low"], "insight": INSIGHT, "task": "t"}).status == 422
    open_ = {"sensitivity": "internal", "compartments": []}
    ann.make("alerts", {"to": ["low"], "insight": INSIGHT, "task": "t", **open_})
    (row,) = low.results("alerts")
    assert row["task"] is None, "of a task that it may not see"
    assert low.post("alerts", {"to": ["ann"], "insight": INSIGHT, "task": "t"}).refusal == (404, "not_found")


def test_lists_are_paged_and_filtered(team: Team) -> None:
    ann, ben = make_api(team, name="ann"), make_api(team, name="ben")
    for number in range(5):
        severity = ("info", "warning", "critical")[number % 3]
        ann.make("alerts", {"to": ["ben"], "insight": f"n{number}", "severity": severity})
    assert listed(ben) == ["n4", "n3", "n2", "n1", "n0"]
    assert listed(ben, "severity=critical") == ["n2"]
    page = ben.get("alerts?limit=2").data
    assert [row["insight"] for row in page["results"]] == ["n4", "n3"]
    assert [row["insight"] for row in ben.get(page["next"]).data["results"]] == ["n2", "n1"]
    for bad in ("state=x", "severity=high", "sent=1", "x=1", "limit=101"):
        assert ben.get(f"alerts?{bad}").status == 400, bad


@pytest.mark.parametrize(
    "to", [None, "ben", [], ["ben", 1], {}, {"group": ""}, {"group": "x", "y": 1}, [""], ["\u200b"], 1, ["x" * 201]]
)
def test_who_it_goes_to_is_told_in_one_of_three_ways(team: Team, to: object) -> None:
    ann = make_api(team, name="ann")
    make_api(team, name="ben")
    refused = ann.post("alerts", {"to": to, "insight": INSIGHT})
    assert refused.status == 400, json.dumps(to)
    assert refused.data["errors"][0]["pointer"].startswith("/to")


def test_the_scope_is_needed(team: Team) -> None:
    narrow = make_api(team, scopes=["memory:read", "memory:write"])
    for refused in (narrow.get("alerts"), narrow.post("alerts", {"to": "all", "insight": INSIGHT})):
        assert refused.refusal == (403, "forbidden")
