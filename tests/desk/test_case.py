"""A case's page: its parts in order, its timeline, what is withheld, and agents' words that cannot act."""

import re

from django.test import Client

from escalations.actions import answers, claims, notes
from escalations.actions.escalate import escalate
from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions, observations, tasks
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from memoryhub.memory.selectors.tasks import by_key
from tests.support.desk_world import ACTION, Desk, browser_of
from tests.support.factories import make_agent


def test_the_case_shows_what_a_person_needs_in_order(desk: Desk, sam: Client):
    made = desk.escalate("case-1", allowed=["approve", "edit", "reject"], action=ACTION, recommendation="Do it.")
    page = sam.get(f"/escalations/{made.id}/").text
    words = ("May I do case-1?", "What will happen", "It is above my limit.", "Do it.", "Title of case-1")
    places = [page.index(word) for word in words]
    assert places == sorted(places)
    assert "Nobody has claimed it yet" in page
    assert page.count(' aria-disabled="true"') == 4
    assert page.count(" data-locked") == 4
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    mine = sam.get(f"/escalations/{made.id}/").text
    assert "It is yours for" in mine
    assert 'name="arguments/to/name" value="Maria"' in mine
    theirs = browser_of(desk.lee).get(f"/escalations/{made.id}/").text
    assert "<strong><bdi>sam</bdi></strong> has had it for" in theirs


def test_who_had_it_is_told_where_somebody_else_put_it_back(desk: Desk, sam: Client):
    made = desk.escalate("put-back")
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    claims.release(desk.sam.viewer, escalation_id=made.id)
    page = sam.get(f"/escalations/{made.id}/").text
    assert "released it: back in the queue" in page
    assert "sam had it" not in page
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    claims.release(desk.lee.viewer, escalation_id=made.id)
    assert sam.get(f"/escalations/{made.id}/").text.count("sam had it") == 1


def test_what_was_tried_is_told_with_its_result(desk: Desk, sam: Client):
    viewer, call = desk.agent.viewer, {"tool": "send_voucher", "arguments": {"amount": 200}}
    with viewer_transaction(viewer):
        task, _ = tasks.create(viewer, item=NewTask(key="tried", title="Tried"))
        decisions.record(viewer, item=NewDecision(task=task.key, decision=call, reasoning=""))
        given = {**call, "result": "refused: not a member"}
        observations.log(viewer, item=NewObservation(content=given, task=task.key))
        made, _ = escalate(viewer, task=task, reason_code="other", reason="r", question="q?")
    page = sam.get(f"/escalations/{made.id}/").text
    tried = re.sub(r"<[^>]+>", "", page[page.index('class="tried"') : page.index("</ol>")])
    assert "send_voucher(amount: 200)then refused: not a member" in tried


def test_what_came_since_is_divided_off(desk: Desk, sam: Client):
    made = desk.escalate("split")
    desk.log("split", "It came later.")
    notes.note(desk.lee.viewer, escalation_id=made.id, text="Lee was here.")
    page = sam.get(f"/escalations/{made.id}/").text
    since, before = page[page.index('id="since"') : page.index('id="before"')], page[page.index('id="before"') :]
    assert "It came later." in since
    assert "Lee was here." in since
    assert "It came later." not in before
    assert "paid" in before


def test_withheld_items_are_counted_and_not_shown(desk: Desk, sam: Client, lee: Client):
    fraud = make_agent(desk.team, 2, name="fraud")
    with viewer_transaction(desk.agent.viewer):
        pass
    made_first = desk.escalate("other")
    desk.log("other", "nothing")
    fraud_made = None
    viewer = fraud.viewer
    with viewer_transaction(viewer):
        task, _ = tasks.create(viewer, item=NewTask(key="held", title="Held", sensitivity=1))
        for words in ("first secret", "second secret"):
            observations.log(viewer, item=NewObservation(content=words, task=task.key, sensitivity="confidential"))
        fraud_made, _ = escalate(viewer, task=task, reason_code="other", reason="r", question="q?")
    page = sam.get(f"/escalations/{fraud_made.id}/").text
    assert "2 items above your clearance are not shown" in page
    assert "first secret" not in page
    assert "above your clearance" not in sam.get(f"/escalations/{made_first.id}/").text
    assert "first secret" in lee.get(f"/escalations/{fraud_made.id}/").text


def test_private_reasoning_opens_for_the_holder_only_and_is_recorded(desk: Desk, sam: Client):
    made = desk.escalate("private")
    desk.log("private", "I suspect that he lies.", private=True)
    path = f"/escalations/{made.id}/?private=true"
    assert "I suspect" not in sam.get(path).text
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    assert "I suspect" not in sam.get(f"/escalations/{made.id}/").text
    assert "I suspect" in sam.get(path).text
    assert "I suspect" not in browser_of(desk.lee).get(path).text
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        assert AccessLog.objects.filter(reason="private", reader_id=desk.sam.membership.id).count() == 1


def test_the_timeline_pages_through_everything_once(desk: Desk, sam: Client):
    made = desk.escalate("long")
    viewer = desk.agent.viewer
    with viewer_transaction(viewer):
        task = by_key(viewer, "long")
        items = [NewObservation(content=f"number {number};", task=task.key) for number in range(130)]
        observations.log_batch(viewer, items=items)
        for number in range(20):
            decisions.record(viewer, item=NewDecision(task=task.key, decision=f"decision {number};", reasoning=""))
    notes.note(viewer, escalation_id=made.id, text="A note.")
    seen: list[str] = []
    text = sam.get(f"/escalations/{made.id}/").text
    text = text[text.index('id="since"') : text.index('id="before-title"')]
    pages = 0
    while True:
        seen += re.findall(r'data-item="([0-9a-f-]+)"', text)
        pages += 1
        following = re.search(r'class="following" hx-get="([^"]+)"', text)
        if following is None:
            break
        text = sam.get(following[1].replace("&amp;", "&")).text
    assert len(seen) == len(set(seen)) == 130 + 20 + 1
    assert seen == sorted(seen, reverse=True)
    assert pages == 4


def test_the_timeline_is_filtered_and_searched(desk: Desk, sam: Client):
    made = desk.escalate("find")
    desk.log("find", {"carrier": "PostNord 100%"}, tags=["shipping"])
    notes.note(desk.lee.viewer, escalation_id=made.id, text="PostNord was called.")
    with viewer_transaction(desk.agent.viewer):
        task = by_key(desk.agent.viewer, "find")
        decisions.record(
            desk.agent.viewer, item=NewDecision(task=task.key, decision="Ask PostNord", reasoning="They know.")
        )

    def kinds(query: str) -> list[str]:
        path = f"/escalations/{made.id}/timeline/?part=since&{query}"
        return re.findall(r'data-kind="(\w+)"', sam.get(path).text)

    assert kinds("q=postnord") == ["decision", "note", "observation"]
    assert kinds("q=100%25") == ["observation"]
    assert kinds("tag=shipping") == ["observation"]
    assert kinds("kind=note") == ["note"]
    assert kinds("kind=decision&q=nothing") == []
    assert kinds("agent=lee") == ["note"]
    assert kinds("agent=returns&q=postnord&tag=shipping") == ["observation"]
    for odd in ("kind=x", "part=x", "position=x", "private=1", "q=%00", "tag=" + "x" * 101):
        assert sam.get(f"/escalations/{made.id}/timeline/?{odd}").status_code == 400


def test_agents_words_cannot_act(desk: Desk, sam: Client):
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) \u202e "><b>'
    made = desk.escalate("evil", question=evil, reason=evil, allowed=["edit"], recommendation=evil,
                         action={"name": evil, "arguments": {evil: evil}})  # fmt: skip
    desk.log("evil", {evil: [evil, {evil: evil}]}, tags=['"><script>alert(2)</script>'])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    for path in ("/", f"/escalations/{made.id}/"):
        page = sam.get(path)
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "script-src 'self'" in page["Content-Security-Policy"]
        assert "unsafe" not in page["Content-Security-Policy"]
        assert not re.search(r"\son\w+=|\sstyle=|<style", re.sub(r">[^<]*<|\"[^\"]*\"", "", page.text))
    # Only what stands in an input keeps the character: as text one sees its number.
    shown = re.sub(r'(value|data-[a-z-]+|name|id|for|aria-describedby)="[^"]*"', "", sam.get("/").text)
    assert "\u202e" not in shown


def test_an_item_alone_is_whole(desk: Desk, sam: Client):
    made = desk.escalate("whole")
    desk.log("whole", "x" * 9_000)
    page = sam.get(f"/escalations/{made.id}/").text
    assert "5000 more characters" in page
    item = re.findall(r'data-item="([0-9a-f-]+)" data-kind="observation"', page)[0]
    assert "x" * 9_000 in sam.get(f"/escalations/{made.id}/items/{item}/").text
    assert sam.get(f"/escalations/{made.id}/items/{made.id}/").status_code == 404


def test_the_answer_is_shown(desk: Desk, sam: Client):
    made = desk.escalate(allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    answers.decide(desk.sam.viewer, escalation_id=made.id, verdict="respond", message="Send it by boat.")
    page = sam.get(f"/escalations/{made.id}/").text
    assert "Send it by boat." in page
    assert "The agent has not taken the answer yet" in page
    assert "form-respond" not in page


def test_a_case_that_a_person_finished_says_that_nobody_else_works_on_it(desk: Desk, sam: Client):
    made = desk.escalate()
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    answers.finish(desk.lee.viewer, escalation_id=made.id, done="Done by hand.")
    page = sam.get(f"/escalations/{made.id}/").text
    assert "<bdi>lee</bdi> did the work and ended the task" in page
    assert "what the agent did next" not in page
