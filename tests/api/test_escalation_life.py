"""From the queue to the answer and back: people act by the actions that their doors call, the agent by its API."""

from collections.abc import Callable
from typing import Any

import pytest

from escalations.actions import answers, claims, notes
from memoryhub.core.actions import memberships
from memoryhub.core.errors import Conflict, Forbidden, NotFound
from memoryhub.core.models import Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api, at_once, make_api
from tests.support.escalations import ACTION, answer, escalate, refusal, shown
from tests.support.factories import Person, make_person, make_team

pytestmark = pytest.mark.usefixtures("task")

SCHEMA = {"type": "object", "properties": {"amount": {"type": "number", "maximum": 100}}, "required": ["order"]}


# The whole way


def test_from_claim_to_acknowledge(team: Team, api: Api, person: Person) -> None:
    row = escalate(api, "approve", "edit", "reject")
    assert answer(api, row) is None
    claimed = claims.claim(person.viewer, escalation_id=row)
    assert (claimed.state, claimed.owner_id) == ("claimed", person.membership.id)
    assert shown(api, row)["owner"] == person.name
    assert api.post("tasks/t/claim").refusal == (409, "human_owned")
    assert answer(api, row) is None

    changed = {"order": "o-1", "amount": 10}
    answers.decide(
        person.viewer, escalation_id=row, verdict="edit", arguments=changed, done="Called Ada.", next="Refund it."
    )
    after = shown(api, row)
    assert (after["state"], after["claim_expires_at"]) == ("handed_back", None)
    got = answer(api, row)
    expected = {"outcome": "answered", "decision": "edit", "by": person.name, "done": "Called Ada."}
    assert got.items() >= {**expected, "next": "Refund it.", "action": {"name": "refund", "arguments": changed}}.items()
    assert "message" not in got
    free = api.get("tasks/t").data
    assert (free["status"], free["human_owned"], free["lease"]) == ("open", False, None)
    token = api.make("tasks/t/claim")["token"]

    closed = api.make(f"escalations/{row}/acknowledge")
    assert (closed["state"], closed["unacknowledged"]) == ("closed", False)
    assert api.make(f"escalations/{row}/acknowledge") == closed  # repeating it is fine
    assert answer(api, row) == {**got, "state": "closed"}
    assert api.make("tasks/t/complete", {"token": token})["status"] == "done"


def test_a_persons_token_is_greater_and_ends_the_agents(api: Api, person: Person) -> None:
    token = api.make("tasks/t/claim")["token"]
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="No.")
    assert api.post("tasks/t/renew", {"token": token}).refusal == (409, "lease_lost")
    assert api.make("tasks/t/claim")["token"] > token + 1


def test_decide_and_hand_back_in_two_steps(api: Api, person: Person) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Yes.", hand_back=False)
    assert (shown(api, row)["state"], answer(api, row)) == ("resolved", None)
    assert api.post("tasks/t/claim").refusal == (409, "human_owned")
    answers.hand_back(person.viewer, escalation_id=row)
    assert answer(api, row)["message"] == "Yes."
    assert refusal(lambda: answers.hand_back(person.viewer, escalation_id=row)) == (409, "wrong_state")


def test_acknowledging_before_there_is_an_answer_is_refused(api: Api, person: Person) -> None:
    row = escalate(api)
    assert api.post(f"escalations/{row}/acknowledge").refusal == (409, "wrong_state")
    claims.claim(person.viewer, escalation_id=row)
    assert api.post(f"escalations/{row}/acknowledge").refusal == (409, "wrong_state")


def test_after_the_answer_the_task_can_be_escalated_again(api: Api, person: Person) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Yes.")
    assert escalate(api) != row


# Answers


@pytest.mark.parametrize(
    ("allowed", "said", "expected"),
    [
        ("approve", {}, {"outcome": "answered", "action": ACTION}),
        ("edit", {"arguments": {"order": "o-2"}}, {"action": {"name": "refund", "arguments": {"order": "o-2"}}}),
        ("respond", {"message": "Ask Ada."}, {"outcome": "answered", "message": "Ask Ada."}),
        ("reject", {"message": "Too much."}, {"outcome": "answered", "message": "Too much."}),
        ("ignore", {}, {"outcome": "answered"}),
    ],
)
def test_the_answer_of_each_verdict(
    api: Api, person: Person, allowed: str, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    row = escalate(api, allowed)
    claims.claim(person.viewer, escalation_id=row)
    answers.decide(person.viewer, escalation_id=row, verdict=allowed, **said)
    got = answer(api, row)
    assert got.items() >= {"decision": allowed, "by": person.name, "task": "t", **expected}.items()
    assert ("action" in got) == (allowed in ("approve", "edit"))


def test_finish_ends_the_task_with_what_was_done(team: Team, api: Api, person: Person) -> None:
    for key, outcome in (("t", "done"), ("u", "failed")):
        api.post("tasks", {"key": key, "title": key})
        row = escalate(api, task=key)
        claims.claim(person.viewer, escalation_id=row)
        assert refusal(lambda row=row: answers.finish(person.viewer, escalation_id=row, done=" ")) == (
            422,
            "not_allowed",
        )
        answers.finish(person.viewer, escalation_id=row, done="Paid by hand.", outcome=outcome)
        got = answer(api, row)
        assert (got["outcome"], got["decision"], got["done"]) == ("finished", "finish", "Paid by hand.")
        ended = api.get(f"tasks/{key}").data
        assert (ended["status"], ended["human_owned"]) == (outcome, False)
        assert ended["outcome"] == {"done_by_a_person": "Paid by hand."}
        assert shown(api, row)["state"] == "closed"
        assert api.make(f"escalations/{row}/acknowledge")["state"] == "closed"


def test_cancel_is_an_answer_too(api: Api, person: Person) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    api.make(f"escalations/{row}/cancel", {"reason": "The customer called back."})
    got = answer(api, row)
    assert (got["outcome"], got["decision"], got["message"]) == ("cancelled", None, "The customer called back.")
    free = api.get("tasks/t").data
    assert (free["status"], free["human_owned"]) == ("open", False)
    assert refusal(lambda: answers.decide(person.viewer, escalation_id=row, verdict="respond", message="x")) == (
        409,
        "already_decided",
    )


def test_only_what_the_agent_allowed(api: Api, person: Person) -> None:
    row = escalate(api, "edit", "reject", "respond", action={**ACTION, "schema": SCHEMA})
    claims.claim(person.viewer, escalation_id=row)
    before = shown(api, row)
    wrong: list[dict[str, Any]] = [
        {"verdict": "approve"},
        {"verdict": "ignore"},
        {"verdict": "finish"},
        {"verdict": "reject"},
        {"verdict": "reject", "message": " "},
        {"verdict": "respond"},
        {"verdict": "edit"},
        {"verdict": "edit", "arguments": {"order": "o", "amount": 101}},
        {"verdict": "edit", "arguments": {"amount": 1}},
        {"verdict": "reject", "message": "x", "arguments": {}},
    ]
    for said in wrong:
        assert refusal(lambda said=said: answers.decide(person.viewer, escalation_id=row, **said)) == (
            422,
            "not_allowed",
        ), said
    assert shown(api, row) == before
    answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments={"order": "o", "amount": 100})


def test_a_schema_that_runs_away_on_an_edit_is_refused_in_time(api: Api, person: Person) -> None:
    # A million steps, which only the person's edit would take.
    schema = {"properties": {"note": {"items": {"anyOf": [{"const": number} for number in range(1000)]}}}}
    row = escalate(api, "edit", action={**ACTION, "schema": schema})
    claims.claim(person.viewer, escalation_id=row)
    edit = {"note": list(range(-1000, 0))}
    assert refusal(lambda: answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments=edit)) == (
        422,
        "not_allowed",
    )
    # 2^40 steps for who does not see that they are the same ones.
    twice = {str(level): {"allOf": [{"$ref": f"#/$defs/{level + 1}"}] * 2} for level in range(40)}
    doubling = {"properties": {"note": {"$ref": "#/$defs/0"}}, "$defs": {**twice, "40": {}}}
    for task, schema in (("u", doubling), ("v", {"properties": {"note": {"pattern": "(a+)+$"}}})):
        api.make("tasks", {"key": task, "title": task})
        row = escalate(api, "edit", task=task, action={**ACTION, "schema": schema})
        claims.claim(person.viewer, escalation_id=row)
        answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments={"note": "a" * 60 + "!"})


def test_an_answer_that_its_agent_may_no_longer_read_is_refused(team: Team, person: Person) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    assert high.agent is not None
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    row = escalate(high, task="s")
    cleared = make_person(team, clearance=Sensitivity.CONFIDENTIAL)
    claims.claim(cleared.viewer, escalation_id=row)
    change(team, high.agent.membership, clearance=Sensitivity.INTERNAL)
    assert refusal(lambda: answers.decide(cleared.viewer, escalation_id=row, verdict="respond", message="x")) == (
        422,
        "not_allowed",
    )


def change(team: Team, member: Membership, **changes: Any) -> None:
    rights = {"role": member.role, "clearance": member.clearance, "compartments": member.compartments}
    found = Membership.objects.select_related("actor", "team").get(id=member.id)
    memberships.change(system_viewer(team.id), member=found, **{**rights, "is_active": True, **changes})


# Claims


def test_exactly_one_of_several_claims(team: Team, api: Api) -> None:
    row = escalate(api)
    people = [make_person(team) for _ in range(4)]

    def claim(who: Person) -> str:
        try:
            return claims.claim(who.viewer, escalation_id=row).state
        except Conflict as error:
            return str(error.code)

    got = at_once(*(lambda who=who: claim(who) for who in people))
    assert sorted(got) == ["already_claimed", "already_claimed", "already_claimed", "claimed"]
    winner = people[got.index("claimed")]
    assert claims.claim(winner.viewer, escalation_id=row).version == 2  # one's own again is fine, and changes nothing
    loser = next(who for who in people if who is not winner)
    with pytest.raises(Conflict) as caught:
        claims.claim(loser.viewer, escalation_id=row)
    assert caught.value.extra.items() >= {"owner": winner.name, "state": "claimed", "version": 2}.items()
    assert caught.value.extra["since"]


def test_only_the_owner_acts_and_a_lead_may_release(team: Team, api: Api, person: Person) -> None:
    row = escalate(api)
    other, lead = make_person(team), make_person(team, Role.LEAD)
    calls: list[Callable[[Person], Any]] = [
        lambda who: answers.decide(who.viewer, escalation_id=row, verdict="respond", message="x"),
        lambda who: answers.finish(who.viewer, escalation_id=row, done="x"),
        lambda who: claims.keep(who.viewer, escalation_id=row),
    ]
    for call in calls:
        assert refusal(lambda call=call: call(person)) == (409, "not_owner")  # nobody has claimed it
    claims.claim(person.viewer, escalation_id=row)
    for call in [*calls, lambda who: claims.release(who.viewer, escalation_id=row)]:
        assert refusal(lambda call=call: call(other)) == (409, "not_owner")
    assert refusal(lambda: answers.cancel(other.viewer, escalation_id=row, reason="x")) == (409, "not_owner")
    assert claims.release(lead.viewer, escalation_id=row).state == "queued"
    free = api.get("tasks/t").data
    assert (free["status"], free["human_owned"], free["lease"]) == ("escalated", False, None)


def test_readers_and_agents_may_not_take_over(team: Team, api: Api) -> None:
    assert api.agent is not None
    row = escalate(api)
    reader = make_person(team, Role.READER)
    for viewer in (reader.viewer, api.agent.viewer):
        with pytest.raises(Forbidden):
            claims.claim(viewer, escalation_id=row)
    assert notes.note(reader.viewer, escalation_id=row, text="I know her.").escalation_id == row


def test_next_is_the_most_urgent_and_the_oldest_of_equals(team: Team, api: Api, person: Person) -> None:
    rows = {}
    for key, priority in (("a", "normal"), ("b", "urgent"), ("c", "urgent"), ("d", "low")):
        api.make("tasks", {"key": key, "title": key})
        rows[escalate(api, task=key, priority=priority)] = key
    order = []
    while (taken := claims.next_free(person.viewer)) is not None:
        order.append(rows[taken.id])
    assert order == ["b", "c", "a", "d"]


def test_another_teams_is_not_found(api: Api) -> None:
    row = escalate(api)
    stranger = make_person(make_team(), Role.ADMIN, Sensitivity.CONFIDENTIAL)
    with pytest.raises(NotFound):
        claims.claim(stranger.viewer, escalation_id=row)
