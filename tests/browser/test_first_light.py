"""The whole product in one thin line, in real browsers: from an agent's API call to two people's screens and back."""

import re
import threading
from typing import Any

import httpx2
from playwright.sync_api import WebSocket, expect

from tests.support.desk_pages import NewPage, live, sign_in
from tests.support.factories import TestAgent, make_agent, make_person, make_team
from tests.support.ledger import events_of
from tests.support.web import Server

ACTION = {"name": "refund", "arguments": {"order": "order-7", "amount": 80}}


class Hub:
    """An agent's calls."""

    def __init__(self, server: Server, agent: TestAgent) -> None:
        self.client = httpx2.Client(base_url=f"{server.url}/api/v1", headers=agent.headers, timeout=70)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def escalate(self, key: str, **more: Any) -> str:
        """A task with something known about it, which needs a person."""
        label = {name: more.pop(name) for name in ("sensitivity", "compartments") if name in more}
        self.post("/tasks", {"key": key, "title": "Refund order 7", **label})
        self.post("/observations", {"task": key, "content": {"order": "order-7", "paid": 80}, "tags": ["order"]})
        self.post("/decisions", {"task": key, "decision": "refund in full", "reasoning": "It came back unopened."})
        body = {"task": key, "reason_code": "approval_required", "reason": "80 is above my limit.", **more}
        return str(self.post("/escalations", {"question": f"May I refund 80 for {key}?", **body})["id"])


def test_an_escalation_reaches_two_people_and_its_answer_reaches_the_agent(server: Server, new_page: NewPage):
    team = make_team("light")
    sam, lee = make_person(team, name="sam"), make_person(team, name="lee")
    hub = Hub(server, make_agent(team))
    sams, lees = sign_in(new_page(), sam), sign_in(new_page(), lee)
    expect(sams.get_by_text("Nothing is waiting")).to_be_visible()

    escalation = hub.escalate("order-7", allowed=["approve", "edit", "reject"], action=ACTION)
    for page in (sams, lees):
        row = page.locator(f"#e-{escalation}")
        expect(row).to_contain_text("May I refund 80 for order-7?")
        expect(row.get_by_role("button", name="Claim")).to_be_visible()

    answers: list[httpx2.Response] = []
    waiting = threading.Thread(
        target=lambda: answers.append(hub.client.get(f"/escalations/{escalation}/answer", params={"wait": 60}))
    )
    waiting.start()

    sams.locator(f"#e-{escalation}").get_by_role("button", name="Claim").click()
    expect(lees.locator(f"#e-{escalation} .owner")).to_contain_text("sam")
    expect(lees.locator(f"#e-{escalation}").get_by_role("button", name="Claim")).to_have_count(0)

    expect(sams).to_have_url(re.compile(f"/escalations/{escalation}/$"))  # the claim leads there by itself
    live(sams)
    expect(sams.get_by_role("heading", name="May I refund 80 for order-7?")).to_be_visible()
    expect(sams.locator("#timeline")).to_contain_text("refund in full")
    hub.post("/observations", {"task": "order-7", "content": "The customer has written again."})
    expect(sams.locator("#timeline")).to_contain_text("The customer has written again.")

    sams.get_by_role("button", name="Edit", exact=True).click()
    form = sams.locator("#form-edit")
    form.get_by_label("amount").fill("60")
    form.get_by_label("Message to the agent").fill("Shipping is not refunded.")
    form.get_by_role("button", name="Approve with changes").click()

    waiting.join(timeout=30)
    assert [answer.status_code for answer in answers] == [200]
    answer = answers[0].json()
    assert answer["outcome"] == "answered"
    assert answer["decision"] == "edit"
    assert answer["action"] == {"name": "refund", "arguments": {"order": "order-7", "amount": 60}}
    assert answer["message"] == "Shipping is not refunded."
    assert answer["by"] == "sam"

    hub.post(f"/escalations/{escalation}/acknowledge", {})
    sams.goto(f"/escalations/{escalation}/")
    timeline = sams.locator("#timeline")
    for words in ("The customer has written again.", "Shipping is not refunded.", "refund in full"):
        expect(timeline).to_contain_text(words)
    expect(sams.locator("#panel")).to_have_attribute("data-state", "closed")
    for verb in ("escalate", "claim", "decide", "hand_back", "acknowledge"):
        assert verb in told(timeline.locator("[data-kind=state]").count(), server, team.id), verb


def told(count: int, server: Server, team: int) -> set[str]:
    """The escalation's changes in the ledger, of which the timeline shows as many."""
    changes = [event.type for event in events_of(team) if event.row_type == "escalation"]
    assert count >= len([change for change in changes if change != "escalation.keep"])
    return {change.partition(".")[2] for change in changes}


def test_who_lacks_the_clearance_gets_no_row_no_count_no_frame(server: Server, new_page: NewPage):
    team = make_team("hidden")
    high = make_person(team, clearance=2, compartments=["finance"], name="high")
    low = make_person(team, name="low")
    hub = Hub(server, make_agent(team, clearance=2, compartments=["finance"]))
    frames: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(str(frame)))

    lows_page = new_page()
    lows_page.on("websocket", listen)
    highs, lows = sign_in(new_page(), high), sign_in(lows_page, low)
    before = lows.locator("main").inner_text()

    secret = hub.escalate("secret-7", sensitivity="confidential", compartments=["finance"])
    expect(highs.locator(f"#e-{secret}")).to_contain_text("Confidential: open to read")
    # A public one after it: when it is there, the secret one has passed.
    plain = hub.escalate("plain-7", sensitivity="public")
    expect(lows.locator(f"#e-{plain}")).to_be_visible()
    assert lows.locator("#rows tr").count() == 1
    assert secret not in lows.content()
    assert not [frame for frame in frames if secret in frame or "secret-7" in frame]
    assert lows.request.get(f"/escalations/{secret}/").status == 404
    hidden, absent = (lows.request.get(f"/escalations/{one}/").text() for one in (secret, plain[:-4] + "0000"))
    assert re.sub(r"[0-9a-f]{32}", "", hidden) == re.sub(r"[0-9a-f]{32}", "", absent)
    assert "secret" not in before
    highs.goto(f"/escalations/{secret}/")
    expect(highs.get_by_role("heading", name="May I refund 80 for secret-7?")).to_be_visible()
