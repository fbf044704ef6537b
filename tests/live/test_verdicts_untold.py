"""That a person has decided is an event for all who see the case; what they decided is told by no event."""

import json

import httpx2
import pytest

from escalations.actions import answers, claims
from escalations.actions.escalate import escalate
from memoryhub.core.models import Sensitivity
from tests.support.desk_socket import desk, heard
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import make_task
from tests.support.ledger import head
from tests.support.streams import opened, poll
from tests.support.web import Server

WORDS = "kestrel"
SAID = {
    "approve": {"message": WORDS},
    "edit": {"arguments": {"order": WORDS}},
    "respond": {"message": WORDS},
    "reject": {"message": WORDS},
    "ignore": {"message": WORDS},
}


@pytest.mark.parametrize("verdict", SAID)
def test_no_event_tells_what_was_decided(server: Server, verdict: str):
    team = make_team()
    asker, other = make_agent(team), make_agent(team, Sensitivity.CONFIDENTIAL)
    sam, lee = make_person(team), make_person(team)
    task = make_task(asker.viewer)
    made, _ = escalate(
        asker.viewer,
        task=task,
        reason_code="other",
        reason="r",
        question="q",
        allowed=list(SAID),
        action={"name": "refund", "arguments": {"order": "o"}, "arguments_json": '{"order": "o"}', "schema": None},
    )
    claims.claim(sam.viewer, escalation_id=made.id)
    after = head(team.id)
    at_queue, _ = desk(server, lee, after)
    with at_queue, opened(server, other) as stream:
        answers.decide(sam.viewer, escalation_id=made.id, verdict=verdict, hand_back=False, **SAID[verdict])
        told = [stream.events(1)[0].data]
        # Before it is handed back nobody else is told, and the asker neither.
        for agent in (asker, other):
            page = poll(server, agent, f"after={after}")
            with opened(server, agent, last=after) as again:
                told += [*page.json()["events"], again.events(1)[0].data]
        (frame,) = heard(at_queue, 1)
        answers.hand_back(sam.viewer, escalation_id=made.id)
        told += [message.data for message in stream.events(1)]
        told += poll(server, other, f"after={after}&types=escalation").json()["events"]
        frames = [frame, *heard(at_queue, 1)]
    assert {event["type"] for event in told} == {"escalation.decide", "escalation.hand_back"}
    for event in [*told, *frames]:
        assert WORDS not in json.dumps(event)
    for event in told:
        assert "verdict" not in event["data"]
        assert verdict not in json.dumps(event["data"])
    assert [one["event"] for one in frames] == ["escalation.decide", "escalation.hand_back"]
    assert all(one["item"] is None and verdict not in one["row"] for one in frames)

    def answer(agent) -> dict:
        address = f"{server.url}/api/v1/escalations/{made.id}/answer"
        return httpx2.get(address, headers=agent.headers, timeout=30).json()

    # The control: who asked is told by the answer, and there alone.
    assert answer(asker)["decision"] == verdict
    assert WORDS in json.dumps(answer(asker))
    assert (answer(other)["decision"], answer(other)["outcome"]) == (None, "answered_other")
    assert "action" not in answer(other)
