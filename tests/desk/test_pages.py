"""The desk's pages: what they show to whom, and what they answer to odd addresses."""

import re

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from escalations.actions import answers, claims, notes
from escalations.actions.escalate import escalate
from escalations.models import Audience
from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions, observations, tasks
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from memoryhub.memory.selectors.tasks import by_key
from tests.support.desk_world import ACTION, HTML, JSON, Desk, browser_of, post
from tests.support.factories import PASSWORD, Person, join, make_agent, make_person, make_team


def rows(page) -> list[str]:
    return re.findall(r'<tr role="row" id="e-([0-9a-f-]+)"', page.text)


def queries(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in caught.captured_queries]


def log(desk: Desk, key: str, content, agent=None, **more):
    viewer = (agent or desk.agent).viewer
    with viewer_transaction(viewer):
        observations.log(viewer, item=NewObservation(content=content, task=key, **more))


def test_nobody_is_led_to_the_sign_in_and_back(desk: Desk):
    made = desk.escalate()
    nobody = Client(headers=HTML)
    for path in ("/", f"/escalations/{made.id}/", f"/escalations/{made.id}/panel/"):
        led = nobody.get(path)
        assert (led.status_code, led["Location"]) == (302, f"/login/?next={path}")
    assert nobody.get("/", headers=JSON).status_code == 401
    assert nobody.get("/", headers={"HX-Request": "true"})["HX-Redirect"] == "/login/?next=/"
    sent = {"username": desk.sam.username, "password": PASSWORD, "next": f"/escalations/{made.id}/"}
    assert nobody.post("/login/", sent)["Location"] == f"/escalations/{made.id}/"
    assert nobody.get("/").status_code == 200
    assert nobody.post("/logout/")["Location"] == "/login/"
    assert nobody.get("/").status_code == 302


@pytest.mark.parametrize(("username", "password"), [("nobody", "x"), ("a\0b", "x"), ("x" * 200, "x"), ("", "")])
def test_a_wrong_sign_in_says_one_thing(username: str, password: str):
    page = Client(headers=HTML).post("/login/", {"username": username, "password": password, "next": "//evil.example/"})
    assert page.status_code == 200
    assert "do not match" in page.text


def test_an_agent_cannot_sign_in(desk: Desk):
    actor = desk.agent.membership.actor
    actor.set_password(PASSWORD)
    actor.save(update_fields=["password"])
    page = Client(headers=HTML).post("/login/", {"username": actor.username, "password": PASSWORD})
    assert "do not match" in page.text


def test_a_person_without_a_team_is_told(desk: Desk):
    lonely = make_person(desk.team)
    client = browser_of(lonely)
    lonely.membership.is_active = False
    lonely.membership.save(update_fields=["is_active"])
    page = client.get("/")
    assert page.status_code == 403
    assert "You are in no team" in page.text


def test_one_team_is_active_and_can_be_changed(desk: Desk):
    other = make_team("other")
    join(other, desk.sam.actor, name="sam")
    first = desk.escalate()
    client = browser_of(desk.sam)
    seen = []
    for team in (desk.team, other):
        assert post(client, "/team/", {"team": str(team.id)}, **HTML)["Location"] == "/"
        seen.append(rows(client.get("/")))
    assert seen == [[str(first.id)], []]
    assert client.get(f"/escalations/{first.id}/").status_code == 404
    foreign = make_team("foreign")
    for wrong in (str(foreign.id), "x", "", "99999999999999999999"):
        assert post(client, "/team/", {"team": wrong}, **JSON).status_code == 404


def test_the_installations_team_leads_to_its_administration():
    from memoryhub.core.models import Team
    from tests.support.factories import installation

    system = Team.objects.get(id=installation().team)
    assert browser_of(make_person(system, "admin", is_staff=True)).get("/")["Location"] == "/admin/"
    assert browser_of(make_person(system, "admin")).get("/").status_code == 403


def test_the_queue_is_in_one_order(desk: Desk, sam: Client):
    low, first = desk.escalate(priority=0), desk.escalate(priority=2)
    second, urgent = desk.escalate(priority=2), desk.escalate(priority=3)
    claims.claim(desk.lee.viewer, escalation_id=urgent.id)
    page = sam.get("/")
    assert rows(page) == [str(one.id) for one in (urgent, first, second, low)]
    assert page["Cache-Control"] == "no-store"
    assert re.search(r'data-seq="\d+"', page.text)


def last_events(page) -> list[str]:
    cells = re.findall(r'class="[^"]*\blast\b[^"]*"[^>]*>(.*?)</td>', page.text, re.DOTALL)
    return [re.search(r"<span>(.*?)</span>", cell)[1] for cell in cells]


def test_the_last_event_is_of_the_escalation_and_found_by_its_id(desk: Desk, sam: Client):
    """Whatever agents have logged since, which an early plan would read through."""
    row = desk.escalate()
    assert last_events(sam.get("/")) == ["escalated"]
    claims.claim(desk.lee.viewer, escalation_id=row.id)
    assert last_events(sam.get("/")) == ["claimed it"]
    notes.note(desk.lee.viewer, escalation_id=row.id, text="For us.", audience=Audience.PEOPLE)
    log(desk, desk.keys[0], "later")
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
        ("q=%25_", [one]),
        ("q=beta", [two]),
        ("status=claimed", [two]),
        ("status=all&q=&priority=&owner=", [one, two, over]),
        ("show=1", [one]),
    ):
        assert rows(sam.get(f"/?{query}")) == [str(row.id) for row in found], query


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


def test_100_kb_of_query_are_too_long(desk: Desk, sam: Client):
    assert sam.get("/?q=" + "x" * 100_000).status_code == 414


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


@pytest.mark.parametrize("page", ["", "panel/", "timeline/", "items/{one}/"])
def test_hidden_and_absent_pages_are_the_same(desk: Desk, sam: Client, page: str):
    fraud = make_agent(desk.team, 2, ["finance"])
    secret = desk.escalate(agent=fraud, sensitivity=2, compartments=["finance"])
    found = []
    for one in (str(secret.id), str(secret.id)[:-4] + "0000"):
        answer = sam.get(f"/escalations/{one}/{page.format(one=one)}")
        found.append((answer.status_code, answer.text.replace(one, "")))
    assert found[0] == found[1]
    assert found[0][0] == 404


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
    log(desk, "split", "It came later.")
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
    log(desk, "other", "nothing")
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
    log(desk, "private", "I suspect that he lies.", private=True)
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
    log(desk, "find", {"carrier": "PostNord 100%"}, tags=["shipping"])
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
    log(desk, "evil", {evil: [evil, {evil: evil}]}, tags=['"><script>alert(2)</script>'])
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
    log(desk, "whole", "x" * 9_000)
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


def heads(statements: list[str]) -> list[str]:
    """What tells one from another, where a count would not say which is new."""
    return [statement.strip()[:80] for statement in statements]


def test_query_counts_do_not_grow(desk: Desk, sam: Client):
    made = desk.escalate("count", priority=3)
    for priority in (0, 1):
        desk.escalate(priority=priority)
    log(desk, "count", "one")
    few = [heads(queries(sam, path)) for path in ("/", f"/escalations/{made.id}/")]
    for _ in range(30):
        desk.escalate()
    with viewer_transaction(desk.agent.viewer):
        task = by_key(desk.agent.viewer, "count")
        items = [NewObservation(content=f"n {number}", task=task.key) for number in range(100)]
        observations.log_batch(desk.agent.viewer, items=items)
    many = [heads(queries(sam, path)) for path in ("/", f"/escalations/{made.id}/")]
    assert many == few


def test_people_of_another_team_see_nothing(desk: Desk):
    made = desk.escalate()
    stranger: Person = make_person(make_team("stranger"), "admin", 2, ["finance"])
    client = browser_of(stranger)
    assert rows(client.get("/?status=all")) == []
    assert client.get(f"/escalations/{made.id}/").status_code == 404
    assert post(client, f"/escalations/{made.id}/claim", **JSON).status_code == 404


@pytest.mark.parametrize("path", ["/", "/account/password/", "/admin/", "/login/", "/nothing/here/"])
def test_a_database_that_is_away_is_said_wherever_it_is_missed_first(desk: Desk, path: str):
    def away(*_):
        raise OperationalError("connection timeout expired")

    client = browser_of(desk.sam)
    client.raise_request_exception = False
    with connection.execute_wrapper(away):
        answers = [client.get(path), client.get(path, headers=JSON)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert "Not available just now" in answers[0].text
    assert answers[0]["Retry-After"]
    assert answers[1].json()["code"] == "unavailable"


def test_a_case_that_a_person_finished_says_that_nobody_else_works_on_it(desk: Desk, sam: Client):
    made = desk.escalate()
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    answers.finish(desk.lee.viewer, escalation_id=made.id, done="Done by hand.")
    page = sam.get(f"/escalations/{made.id}/").text
    assert "<bdi>lee</bdi> did the work and ended the task" in page
    assert "what the agent did next" not in page
