"""People's verbs over HTTP: who may, what is answered, what is refused and leaves no trace."""

import json

import pytest
from django.test import Client

from escalations.desk.verbs import VERBS
from escalations.models import Answer, Escalation
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.clients import new_client
from tests.support.desk_world import ACTION, HTML, JSON, Desk, act, body, browser_of, events, post
from tests.support.factories import make_agent, make_person

ALL = ["approve", "edit", "respond", "reject", "ignore"]


def stored(desk: Desk, escalation: Escalation) -> Escalation:
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        return Escalation.objects.select_related("owner").get(id=escalation.id)


def answer_of(desk: Desk, escalation: Escalation) -> dict:
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        return Answer.objects.get(escalation=escalation.id).body


def test_claim_edit_and_hand_back(desk: Desk, sam: Client):
    made = desk.escalate(allowed=ALL, action=ACTION)
    claimed = act(sam, made, "claim").json()
    assert (claimed["state"], claimed["owner"], claimed["id"]) == ("claimed", "sam", str(made.id))
    typed = {
        "verdict": "edit",
        "arguments/amount": "60",
        "arguments/to/name": "Mia",
        "message": "Less.\r\nOK?",
        "done": "",
    }
    answered = act(sam, made, "decide", typed)
    assert answered.json()["state"] == "handed_back"
    assert answered["ETag"]
    found = answer_of(desk, made)
    assert json.loads(found["arguments_json"]) == {"order": "1042", "amount": 60, "notify": True, "to": {"name": "Mia"}}
    assert found["message"] == "Less.\nOK?"


def test_a_json_body_does_the_same(desk: Desk, sam: Client):
    made = desk.escalate(allowed=ALL, action=ACTION)
    act(sam, made, "claim", b"{}")
    body = {"verdict": "edit", "arguments": {"amount": 1}, "hand_back": False}
    assert act(sam, made, "decide", json.dumps(body).encode()).json()["state"] == "resolved"
    assert act(sam, made, "hand-back").json()["state"] == "handed_back"


def test_a_page_is_led_on_with_a_sentence(desk: Desk, sam: Client):
    made = desk.escalate()
    led = act(sam, made, "claim", **HTML)
    assert (led.status_code, led["Location"]) == (303, f"/escalations/{made.id}/")
    assert "It is yours." in sam.get(led["Location"]).text
    refused = act(sam, made, "decide", {"verdict": "reject", "message": "no"}, **HTML)
    assert (refused.status_code, refused["Location"]) == (303, f"/escalations/{made.id}/")
    assert "The agent can take only: respond." in sam.get(f"/escalations/{made.id}/").text
    assert act(sam, made, "release", **HTML)["Location"] == "/"


def test_a_second_claim_is_told_who_and_since_when(desk: Desk, sam: Client, lee: Client):
    made = desk.escalate()
    act(sam, made, "claim")
    refused = act(lee, made, "claim")
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["owner"]) == (409, "already_claimed", "sam")
    assert problem["since"]
    assert problem["version"] == stored(desk, made).version
    assert refused["Content-Type"] == "application/problem+json"


def test_the_rest_of_the_verbs(desk: Desk, sam: Client):
    made = desk.escalate(allowed=["respond"])
    assert act(sam, made, "note", {"text": "Called; no answer."}).json()["state"] == "queued"
    assert act(sam, made, "claim").json()["state"] == "claimed"
    assert act(sam, made, "keep").json()["state"] == "claimed"
    assert act(sam, made, "release").json()["state"] == "queued"
    act(sam, made, "claim")
    assert act(sam, made, "finish", {"done": "Refunded by hand."}).json()["state"] == "closed"
    other = desk.escalate()
    assert act(sam, other, "cancel", {"reason": "Solved by phone."}).json()["state"] == "cancelled"


def test_what_is_sent_again_with_its_key_is_done_once(desk: Desk, sam: Client):
    made, other = desk.escalate(allowed=["respond"]), desk.escalate()

    def twice(path: str, body: dict | None = None) -> set[str]:
        answers = [post(sam, path, body, **JSON, **{"Idempotency-Key": path}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        return {answer.json()["id"] for answer in answers}

    assert twice("/escalations/next") == {str(made.id)}
    assert stored(desk, other).state == "queued"
    before = events(desk)
    assert twice(f"/escalations/{made.id}/note", {"text": "Once."}) == {str(made.id)}
    assert events(desk) == before + 1
    for verb, sent in (("release", {}), ("claim", {}), ("decide", {"verdict": "respond", "message": "Yes."})):
        assert twice(f"/escalations/{made.id}/{verb}", sent) == {str(made.id)}
    assert answer_of(desk, made)["message"] == "Yes."
    key = {"Idempotency-Key": f"/escalations/{made.id}/note"}
    assert act(sam, made, "note", {"text": "Another."}, **JSON, **key).json()["code"] == "idempotency_mismatch"


def test_next_takes_the_most_urgent_free_one(desk: Desk, sam: Client, lee: Client):
    desk.escalate(priority=1)
    urgent = desk.escalate(priority=3)
    assert post(sam, "/escalations/next", **JSON).json()["id"] == str(urgent.id)
    assert post(sam, "/escalations/next", **HTML).status_code == 303
    nothing = post(lee, "/escalations/next", **JSON)
    assert (nothing.status_code, nothing["X-Held"], nothing.content) == (204, "2", b"")
    assert post(lee, "/escalations/next", **HTML)["Location"] == "/"


@pytest.mark.parametrize("verb", [*VERBS, "next"])
def test_an_agents_key_gets_403_whatever_comes_with_it(desk: Desk, sam: Client, verb: str):
    made = desk.escalate()
    before = events(desk)
    path = "/escalations/next" if verb == "next" else f"/escalations/{made.id}/{verb}"
    for client in (new_client(enforce_csrf_checks=True), sam):
        refused = client.post(path, b"{}", content_type="application/json", headers=desk.agent.headers)
        assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert post(sam, path, **desk.agent.headers).status_code == 403
    assert events(desk) == before


@pytest.mark.parametrize("verb", [*VERBS, "next"])
def test_nobody_and_readers_change_nothing(desk: Desk, verb: str):
    made = desk.escalate()
    reader = browser_of(make_person(desk.team, "reader"))
    before = events(desk)
    path = "/escalations/next" if verb == "next" else f"/escalations/{made.id}/{verb}"
    nobody = new_client(enforce_csrf_checks=True)
    assert nobody.post(path, headers=JSON).status_code == 401
    assert nobody.post(path, headers=HTML).status_code in (302, 403)
    if verb != "note":
        assert post(reader, path, body(verb), **JSON).status_code == 403
    assert browser_of(desk.sam).post(path, headers=JSON).status_code == 403  # without a token
    assert browser_of(desk.sam).get(path, headers=JSON).status_code == 405
    assert events(desk) == before


@pytest.mark.parametrize("verb", list(VERBS))
def test_hidden_and_absent_are_the_same(desk: Desk, sam: Client, verb: str):
    secret = desk.escalate(agent=make_agent(desk.team, 2, ["finance"]), sensitivity=2, compartments=["finance"])
    found = []
    for one in (str(secret.id), str(secret.id)[:-4] + "0000"):
        answer = post(sam, f"/escalations/{one}/{verb}", body(verb), **JSON)
        found.append((answer.status_code, {**answer.json(), "request_id": None}))
    assert found[0] == found[1]
    assert found[0][0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b'{"verdict": "respond", "verdict": "reject"}', 400),
        (b'{"verdict": "finish"}', 400),
        (b'{"verdict": "respond", "message": " "}', 400),
        (b'{"verdict": "respond", "message": "a\\u0000b"}', 400),
        (b'{"verdict": "respond", "message": 5}', 400),
        (b'{"verdict": "respond", "message": "x", "owner": "me"}', 400),
        (b'{"verdict": "respond", "message": "x", "hand_back": "yes"}', 400),
        (b'{"verdict": "respond", "message": "\xff"}', 400),
        (b'{"verdict": "respond"}', 422),
        (b'{"verdict": "reject", "message": "x"}', 422),
        ({"verdict": "respond", "message": "x", "team": "1"}, 400),
        ({"verdict": ["respond", "reject"]}, 400),
        ({"verdict": "respond", "message": "a\0b"}, 400),
        ({"verdict": "respond", "message": "x" * 20_001}, 400),
        ({"verdict": "edit", "arguments/amount": "1"}, 422),
    ],
)
def test_bad_bodies_are_refused_and_leave_nothing(desk: Desk, sam: Client, body, status):
    made = desk.escalate()
    act(sam, made, "claim")
    before = events(desk)
    answer = act(sam, made, "decide", body)
    assert answer.status_code == status, answer.text
    assert answer["Content-Type"] == "application/problem+json"
    assert events(desk) == before


def test_other_media_types_are_refused(desk: Desk, sam: Client):
    made = desk.escalate()
    token = sam.cookies["csrftoken"].value
    for kind in ("text/plain", "application/xml", "application/json; charset=utf-16"):
        sent = sam.post(
            f"/escalations/{made.id}/claim", b"{}", content_type=kind, headers={"X-CSRFToken": token, **JSON}
        )
        assert sent.status_code == 415, kind


@pytest.mark.parametrize(
    "one", ["x", "0", "{01a20a62-8dfe-739d-a32d-98afdd3bf7b4}", "01a20a628dfe739da32d98afdd3bf7b4"]
)
def test_what_is_no_id_is_not_found(desk: Desk, sam: Client, one: str):
    assert post(sam, f"/escalations/{one}/claim", **JSON).status_code == 404
