"""What a person resolved becomes a learning of the team, by an explicit step on the desk."""

import json
from typing import Any

from django.test import Client

from escalations.actions import answers, claims
from escalations.models import Escalation
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions
from memoryhub.memory.models import Learning
from memoryhub.memory.schemas.decisions import NewDecision, Replacement
from memoryhub.memory.selectors.tasks import ref_by_key
from tests.support.api import Api, at_once
from tests.support.desk_world import ACTION, HTML, JSON, Desk, act, browser_of, events, post
from tests.support.factories import make_agent, make_person

FORM = {"signal_type": "success", "details": "Refund when it is late.", "context": "reason: other\norder: 1042"}


def resolved(desk: Desk, **more: Any) -> Escalation:
    made = desk.escalate(**{"allowed": ["respond", "reject"], **more})
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    return answers.decide(desk.lee.viewer, escalation_id=made.id, verdict="respond", message="Yes, refund it.")


def learnings(desk: Desk) -> list[Learning]:
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        return list(Learning.objects.filter(team=desk.team))


def page(client: Client, row: Escalation) -> str:
    return client.get(f"/escalations/{row.id}/", headers=HTML).text


def test_the_form_is_filled_from_the_case_and_what_is_sent_is_found(desk: Desk, sam: Client):
    row = resolved(desk, key="late", reason_code="policy_exception")
    shown = page(sam, row)
    for words in ("Asked: May I do late?", "Answer: Yes, refund it.", "reason: policy_exception", "order: 1042"):
        assert words in shown
    made = act(sam, row, "learning", FORM).json()
    assert made.items() >= {"signal_type": "success", "author": "sam", "source": str(row.id), "task": "late"}.items()
    assert (made["details"], made["context"]) == (FORM["details"], {"reason": "other", "order": "1042"})
    api = Api(desk.agent.key)
    (found,) = api.post("learnings/relevant", {"context": {"order": 1042}}).data["results"]
    assert (found["id"], found["matched"]) == (made["id"], [{"match": "exact", "key": "order"}])
    shown = page(sam, row)
    assert "made this a learning" in shown
    assert "Refund when it is late." in shown
    assert 'id="form-learning"' not in shown


def test_a_second_one_of_a_case_is_the_first(desk: Desk, sam: Client, lee: Client):
    row = resolved(desk)
    first = act(sam, row, "learning", FORM).json()
    before = events(desk)
    again = act(lee, row, "learning", {**FORM, "details": "Other."})
    assert (again.status_code, again.json()) == (200, first)
    assert events(desk) == before


def test_of_two_at_once_one_is_kept(desk: Desk):
    row = resolved(desk)
    clients = [browser_of(desk.sam), browser_of(desk.lee)]
    got = at_once(*(lambda client=client: act(client, row, "learning", FORM).json()["id"] for client in clients))
    assert len(set(got)) == len(learnings(desk)) == 1


def test_it_needs_a_resolution(desk: Desk, sam: Client):
    row = desk.escalate()
    for step in ("claim", None, "cancel"):
        if step:
            act(sam, row, step, {"reason": "x"} if step == "cancel" else {})
        assert 'id="form-learning"' not in page(sam, row)
        refused = act(sam, row, "learning", FORM)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    assert learnings(desk) == []


def test_nothing_is_learnt_of_an_answer_before_it_is_handed_back(desk: Desk, sam: Client, lee: Client):
    """Agents read learnings: they would have the verdict, also one that is withdrawn and never sent."""
    row = desk.escalate(allowed=["respond"])
    claims.claim(desk.lee.viewer, escalation_id=row.id)
    answers.decide(desk.lee.viewer, escalation_id=row.id, verdict="respond", message="Refund it.", hand_back=False)
    for client in (sam, lee):
        assert 'id="form-learning"' not in page(client, row)
        refused = act(client, row, "learning", FORM)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
        assert "hand it back first" in refused.json()["detail"]
    assert Api(desk.agent.key).results("learnings") == []
    assert act(lee, row, "hand-back").status_code == 200
    assert 'id="form-learning"' in page(sam, row)
    made = act(sam, row, "learning", FORM).json()
    assert [found["id"] for found in Api(desk.agent.key).results("learnings")] == [made["id"]]


def test_a_page_without_script_is_led_back(desk: Desk, sam: Client):
    row = resolved(desk)
    led = act(sam, row, "learning", FORM, **HTML)
    assert (led.status_code, led["Location"]) == (303, f"/escalations/{row.id}/")
    assert "Learning saved." in page(sam, row)


def test_what_was_finished_teaches_too(desk: Desk, sam: Client):
    row = desk.escalate(action=ACTION, allowed=["approve"])
    act(sam, row, "claim")
    act(sam, row, "finish", {"done": "Paid by hand."})
    shown = page(sam, row)
    assert "Done: Paid by hand." in shown
    assert "action: refund" in shown
    body = json.dumps({"signal_type": "pattern", "details": {"any": ["thing"]}, "context": {"a": {"b": 1}}}).encode()
    assert act(sam, row, "learning", body).json()["context"] == {"a": {"b": 1}}


def test_lines_that_are_none_are_refused_and_keep_their_place(desk: Desk, sam: Client):
    row = resolved(desk)
    for lines in ("no colon", "a: 1\na: 2", ": x", "name:"):
        refused = act(sam, row, "learning", {**FORM, "context": lines})
        assert refused.status_code == 400
        assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/context"]
    for bad in ({**FORM, "signal_type": "luck"}, {**FORM, "details": " "}, {**FORM, "team": "1"}):
        assert act(sam, row, "learning", bad).status_code == 400
    assert learnings(desk) == []


def test_it_has_the_cases_label_and_is_hidden_with_it(desk: Desk, lee: Client, owner_sql: Any):
    agent = make_agent(desk.team, 2, ["finance"])
    row = resolved(desk, agent=agent, sensitivity=2, compartments=["finance"])
    made = act(lee, row, "learning", FORM).json()
    assert (made["sensitivity"], made["compartments"]) == ("confidential", ["finance"])
    assert owner_sql.execute("select body from learning where id = %s", [made["id"]]).fetchone() == (None,)
    assert Api(desk.agent.key).results("learnings") == []
    assert "Refund when it is late." in page(lee, row)


def test_a_reader_sees_it_and_makes_none(desk: Desk, sam: Client):
    row = resolved(desk)
    reader = browser_of(make_person(desk.team, "reader"))
    assert 'id="form-learning"' not in page(reader, row)
    assert post(reader, f"/escalations/{row.id}/learning", FORM, **JSON).status_code == 403
    act(sam, row, "learning", FORM)
    assert "Refund when it is late." in page(reader, row)


def test_a_package_holds_the_tasks_own_learnings_as_of_then(desk: Desk, sam: Client):
    api = Api(desk.agent.key)
    api.make("tasks", {"key": "t", "title": "T"})
    known = api.make("learnings", {"task": "t", "signal_type": "pattern", "details": "Known before."})["id"]
    api.make("learnings", {"signal_type": "pattern", "details": "Of no task."})
    row = resolved(desk, key="t")
    act(sam, row, "learning", FORM)
    learned = api.get(f"escalations/{row.id}/package").data["full_context"]["learnings"]
    assert [one["id"] for one in learned] == [known]


def test_what_became_of_a_decision_is_on_the_timeline(desk: Desk, sam: Client):
    viewer = desk.agent.viewer
    row = desk.escalate(key="t")
    with viewer_transaction(viewer):
        task = ref_by_key(viewer, "t")
        first, _ = decisions.record(viewer, item=NewDecision(task=task.key, decision="wait", reasoning="Perhaps."))
        second, _ = decisions.supersede(
            viewer, decision_id=first, item=Replacement(decision="refund", reasoning="It is late.")
        )
        decisions.outcome(viewer, decision_id=second, outcome="failed", note="The bank said no.")
        decisions.outcome(viewer, decision_id=second, outcome="worked", note="It is paid.")
        decisions.revoke(viewer, decision_id=second, reason="The parcel came.")
    shown = page(sam, row)
    for words in ("superseded", "replaces an earlier one", "The parcel came.", ">failed<", ">worked<"):
        assert words in shown
    assert shown.count("It is paid.") == 1
    assert "The bank said no." not in shown  # the last word on an outcome is the one that is kept
    assert "The parcel came." in sam.get(f"/escalations/{row.id}/timeline/?part=since&kind=state", headers=HTML).text
