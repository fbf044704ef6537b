"""The timeline's search: it finds what a person reads on an item, as it stands there, and nothing else."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from django.template.loader import render_to_string
from django.test import Client

from escalations.actions import answers, claims, notes
from escalations.actions.escalate import escalate
from escalations.desk import item_text, timeline
from escalations.desk.item_text import folded, has_words
from escalations.models import Audience, Escalation
from escalations.selectors import escalations
from escalations.templatetags.desk import as_read
from memoryhub.core import work
from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions, observations, pins, tasks
from memoryhub.memory.schemas.decisions import NewDecision, Replacement
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from memoryhub.memory.selectors.tasks import by_key
from tests.support.desk_world import ACTION, Desk, browser_of
from tests.support.factories import make_agent, make_person


def found(client: Client, made: Escalation, query: str, part: str = "since") -> list[str]:
    """What the timeline's pages show of a query, as the ids of items; however many pages that takes."""
    path, ids = f"/escalations/{made.id}/timeline/?part={part}&{query}", []
    while path:
        text = client.get(path).text
        ids += re.findall(r'data-item="([0-9a-f-]+)"', text)
        following = re.search(r'hx-get="(/[^"]+/timeline/[^"]+)"', text)
        path = unescape(following[1]) if following else ""
    return ids


def search(client: Client, made: Escalation, words: str, part: str = "since") -> int:
    return len(found(client, made, f"q={quote(words)}", part))


CONTENT = {
    "path": r"C:\Temp\new",
    "said": 'He said "no"\nand left',
    "who": "Éva Øster, 退款",
    "rate": "100%_sure",
    "open": True,
    "nested": {"amounts": [80.5, 7], "none": None, "empty": {}},
}
SEEN = (
    r"C:\Temp", r"c:\temp\NEW", 'said "no"', '"no" and left', "eva", "ÉVA", "退款", "100%", "100%_sure", "rate 100%",
    "yes", "80.5, 7", "amounts 80.5", "none none", "empty", "returns", "observed", "shipping", "  Path\tC:",
)  # fmt: skip
UNSEEN = (
    "content", '{"', "\\nand", "\\u", "\\\\", "true", "null", "path: ", "1%0", "a_sure", '":', "body", "observation",
    "importance", "Show all", "Open to read",
)  # fmt: skip


def test_it_finds_what_one_reads_and_no_syntax(desk: Desk, sam: Client):
    made = desk.escalate("read")
    desk.log("read", CONTENT, tags=["shipping"])
    for words in SEEN:
        assert search(sam, made, words) == 1, words
    for words in UNSEEN:
        assert search(sam, made, words) == 0, words


def world(desk: Desk) -> Escalation:
    """A case with an item of each kind and of each sort of event."""
    sam, agent = desk.sam.viewer, desk.agent.viewer
    with viewer_transaction(agent):
        task, _ = tasks.create(agent, item=NewTask(key="all", title="All"))
        old, _ = decisions.record(agent, item=NewDecision(task="all", decision={"refund": 80}, reasoning="It is due."))
        seen = observations.log(agent, item=NewObservation(content=CONTENT, task="all", tags=["x, y"])).id
        pins.pin(agent, observation_id=seen)
        observations.log(agent, item=NewObservation(content=[{"a": [1, [2]]}, "odd \u202e end"], task="all"))
    new, _ = decisions.supersede(agent, decision_id=old, item=Replacement(decision="half", reasoning=""))
    decisions.outcome(agent, decision_id=old, outcome="failed", note="Too <late>")
    decisions.revoke(agent, decision_id=new, reason="Nobody asked & why")
    made, _ = escalate(
        agent, task=task, reason_code="other", reason="r", question="q?", action=ACTION, allowed=["edit"]
    )
    claims.claim(sam, escalation_id=made.id)
    notes.note(sam, escalation_id=made.id, text="For\nus", audience=Audience.PEOPLE)
    claims.release(desk.lee.viewer, escalation_id=made.id)
    claims.claim(sam, escalation_id=made.id)
    arguments = {**ACTION["arguments"], "amount": 80}
    answers.decide(
        sam, escalation_id=made.id, verdict="edit", message="Less", done="Called", next="Send it", arguments=arguments
    )
    return made


def read_items(desk: Desk, made: Escalation) -> list[timeline.Item]:
    with viewer_transaction(desk.sam.viewer, read_only=True):
        row = escalations.escalation(desk.sam.viewer, made.id)
        return [
            item
            for part in (timeline.SINCE, timeline.BEFORE)
            for item in timeline.page(desk.sam.viewer, row, part, timeline.TimelineFilters())[0]
        ]


def texts(item: timeline.Item) -> list[str]:
    """The texts that the item's page shows, one an element; without its time and its buttons' words."""
    html = render_to_string("escalations/_item.html", {"item": item, "whole": True})
    html = re.sub(r"<time.*?</time>|<button class=\"btn.*?</button>", "", html, flags=re.DOTALL)
    html = re.sub(r'<span class="odd"[^>]*>(.*?)</span>', r"\1", html)
    return [folded(unescape(text)) for text in re.split(r"<[^>]*>", html) if text.strip()]


def test_all_that_an_item_shows_is_found(desk: Desk):
    """Of the template itself, so that neither it nor the search is changed alone."""
    shown = read_items(desk, world(desk))
    assert {item.kind for item in shown} == set(timeline.kinds())
    for item in shown:
        for text in texts(item):
            assert has_words(item, text), (item.what, text)
        words = folded(as_read(" ".join(item_text._pieces(item))))
        page = folded(" ".join(texts(item)))
        assert sorted(re.findall(r"[\w']+", words)) == sorted(re.findall(r"[\w']+", page)), item.what


def test_what_cannot_be_seen_is_found_by_its_number(desk: Desk, sam: Client):
    made = desk.escalate("odd")
    desk.log("odd", "before\u202eafter")
    assert search(sam, made, "u+202e") == 1


def test_confidential_items_are_searched_and_only_what_is_found_is_read(desk: Desk, lee: Client):
    fraud = make_agent(desk.team, 2, name="fraud")
    with viewer_transaction(fraud.viewer):
        task, _ = tasks.create(fraud.viewer, item=NewTask(key="held", title="Held", sensitivity=1))
        made, _ = escalate(fraud.viewer, task=task, reason_code="other", reason="r", question="q?")
    for words in ("the first secret", "the second one"):
        desk.log("held", words, agent=fraud, sensitivity="confidential")
    ids = found(lee, made, "q=SECRET")
    assert len(ids) == 1

    def reads() -> set[UUID]:
        with viewer_transaction(system_viewer(desk.team.id), read_only=True):
            return set(AccessLog.objects.filter(row_type="observation").values_list("row_id", flat=True))

    assert reads() == {UUID(ids[0])}
    low = browser_of(make_person(desk.team, clearance=1, name="low"))
    assert found(low, made, "q=secret") == []
    assert reads() == {UUID(ids[0])}


def test_private_reasoning_is_found_where_it_is_opened(desk: Desk, sam: Client):
    made = desk.escalate("private")
    desk.log("private", "I suspect him.", private=True)
    assert search(sam, made, "suspect") == 0
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    assert search(sam, made, "suspect") == 0
    assert len(found(sam, made, "q=suspect&private=true")) == 1


@pytest.fixture
def long(desk: Desk) -> Escalation:
    """A case with 700 items, of which the oldest and the newest say more than their number."""
    made = desk.escalate("long")
    agent = desk.agent.viewer
    with viewer_transaction(agent):
        by_key(agent, "long")
        items = [NewObservation(content=f"number {at} {'needle' * (at in (0, 699))}", task="long") for at in range(700)]
        observations.log_batch(agent, items=items)
    return made


def test_a_search_goes_on_further_back_instead_of_ending(desk: Desk, sam: Client, long: Escalation, monkeypatch: Any):
    monkeypatch.setattr(timeline, "SEARCHED", 300)
    path = f"/escalations/{long.id}/timeline/?part=since&q=needle"
    first = sam.get(path).text
    assert first.count("data-item=") == 1
    assert "Searching further back" in first
    assert len(found(sam, long, "q=needle")) == 2
    assert len(found(sam, long, "q=number")) == len(set(found(sam, long, "q=number"))) == 700
    page = sam.get(f"/escalations/{long.id}/?q=needle").text
    assert page.count("data-item=") == 1
    monkeypatch.setattr(timeline, "SEARCH_SECONDS", 0.0)
    assert len(found(sam, long, "q=needle")) == 2, "each page looks through something"


def test_a_search_ends_when_its_client_has_left(desk: Desk, long: Escalation):
    gone = work.Work()
    gone.is_left = True
    viewer = desk.sam.viewer
    with viewer_transaction(viewer, read_only=True):
        row = escalations.escalation(viewer, long.id)
        with work.doing(gone), pytest.raises(work.ClientLeft):
            timeline.page(viewer, row, timeline.SINCE, timeline.TimelineFilters(q="nowhere"))
