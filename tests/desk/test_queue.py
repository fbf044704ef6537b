"""The queue's page: its order, its filters, its counts, and what it shows of a row to whom."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from escalations.actions import answers, claims, notes
from escalations.models import Audience
from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.desk_world import Desk, browser_of, rows_of
from tests.support.factories import make_agent, make_person


def last_events(page) -> list[str]:
    cells = re.findall(r'class="[^"]*\blast\b[^"]*"[^>]*>(.*?)</td>', page.text, re.DOTALL)
    return [re.search(r"<span>(.*?)</span>", cell)[1] for cell in cells]


def test_the_queue_is_in_one_order(desk: Desk, sam: Client):
    low, first = desk.escalate(priority=0), desk.escalate(priority=2)
    second, urgent = desk.escalate(priority=2), desk.escalate(priority=3)
    claims.claim(desk.lee.viewer, escalation_id=urgent.id)
    page = sam.get("/")
    assert rows_of(page) == [str(one.id) for one in (urgent, first, second, low)]
    assert page["Cache-Control"] == "no-store"
    assert re.search(r'data-seq="\d+"', page.text)


def test_the_last_event_is_of_the_escalation_and_found_by_its_id(desk: Desk, sam: Client):
    """Whatever agents have logged since, which an early plan would read through."""
    row = desk.escalate()
    assert last_events(sam.get("/")) == ["escalated"]
    claims.claim(desk.lee.viewer, escalation_id=row.id)
    assert last_events(sam.get("/")) == ["claimed it"]
    notes.note(desk.lee.viewer, escalation_id=row.id, text="For us.", audience=Audience.PEOPLE)
    desk.log(desk.keys[0], "later")
    assert last_events(sam.get("/")) == ["noted"]
    claims.release(desk.lee.viewer, escalation_id=row.id)
    assert last_events(sam.get("/")) == ["released it: back in the queue"]
    with CaptureQueriesContext(connection) as caught:
        sam.get("/")
    (statement,) = (query["sql"] for query in caught.captured_queries if '"last_type"' in query["sql"])
    assert "task_id" not in re.findall(r'"event" U0 WHERE (.*?)\)', statement)[0]


def test_filters_narrow_the_queue(desk: Desk, sam: Client):
    other = make_agent(desk.team, name="billing")
    one = desk.escalate("alpha", priority=3, reason_code="safety", question="Is the %_ lamp broken?")
    two = desk.escalate("beta", agent=other, sensitivity=0)
    over = desk.escalate("gamma")
    claims.claim(desk.sam.viewer, escalation_id=two.id)
    claims.claim(desk.lee.viewer, escalation_id=over.id)
    answers.finish(desk.lee.viewer, escalation_id=over.id, done="Done.")
    for query, found in (
        ("", [one, two]),
        ("priority=urgent", [one]),
        ("agent=billing", [two]),
        ("owner=me", [two]),
        ("owner=none", [one]),
        ("owner=lee", []),
        ("owner=lee&status=over", [over]),
        ("sensitivity=public", [two]),
        ("reason=safety", [one]),
        ("q=LAMP", [one]),
        ("q=LA%C2%ADM%E2%80%8BP", [one]),  # a soft hyphen and a zero-width space
        ("q=%25_", [one]),
        ("q=beta", [two]),
        ("status=claimed", [two]),
        ("status=all&q=&priority=&owner=", [one, two, over]),
        ("show=1", [one]),
    ):
        assert rows_of(sam.get(f"/?{query}")) == [str(row.id) for row in found], query


@pytest.mark.parametrize(
    "query",
    ["status=x", "priority=5", "sensitivity=secret", "reason=none", "owner=a&owner=b", "nonsense=1", "q=%00", "q=%ff",
     "show=0", "show=1001", "show=٣", "q=" + "x" * 201, "agent=%E2%80%8B"],
)  # fmt: skip
def test_odd_filters_are_refused_with_a_page(desk: Desk, sam: Client, query: str):
    page = sam.get(f"/?{query}")
    assert page.status_code == 400
    assert "<h1>" in page.text
    assert sam.get(f"/?{query}", headers={"HX-Request": "true"})["Content-Type"] == "application/problem+json"


def test_empty_taken_filtered_and_reading_only_are_said_apart(desk: Desk, sam: Client):
    def shown(text: str, words: str) -> bool:
        found = re.search(rf"<(p|div)[^>]*>(?:(?!</\1>).)*{words}", text, re.DOTALL)
        return found is not None and "hidden" not in found[0].split(">")[0]

    empty = sam.get("/").text
    assert shown(empty, "Nothing is waiting")
    assert not shown(empty, "Other people have claimed all of these")
    made = desk.escalate()
    assert shown(sam.get("/?priority=urgent").text, "No escalation matches these filters")
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    assert shown(sam.get("/").text, "Other people have claimed all of these")
    reader = browser_of(make_person(desk.team, "reader")).get("/").text
    assert "You can read and write notes, but not claim" in reader
    assert 'data-verb="next"' not in reader


def test_confidential_rows_show_no_words_and_only_to_who_may(desk: Desk, sam: Client, lee: Client):
    fraud = make_agent(desk.team, 2, ["finance"], name="fraud")
    secret = desk.escalate(
        "secret-1", agent=fraud, sensitivity=2, compartments=["finance"], question="Block the account c-881?"
    )
    assert str(secret.id) not in sam.get("/").text
    row = lee.get("/").text
    assert "Confidential: open to read" in row
    assert "c-881" not in row
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        assert not AccessLog.objects.filter(row_id=secret.id).exists()
    assert "Block the account c-881?" in lee.get(f"/escalations/{secret.id}/").text
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        assert AccessLog.objects.filter(row_id=secret.id, reader_id=desk.lee.membership.id).exists()
