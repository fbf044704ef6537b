"""The desk's pages: who is let in, the active team, odd addresses, query counts, and a database that is away."""

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.actions import observations
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.selectors.tasks import by_key
from tests.support.clients import new_client
from tests.support.desk_world import HTML, JSON, Desk, browser_of, post, rows_of
from tests.support.factories import PASSWORD, Person, join, make_agent, make_person, make_team


def queries(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in caught.captured_queries]


def heads(statements: list[str]) -> list[str]:
    """What tells one from another, where a count would not say which is new."""
    return [statement.strip()[:80] for statement in statements]


def test_nobody_is_led_to_the_sign_in_and_back(desk: Desk):
    made = desk.escalate()
    nobody = new_client(headers=HTML)
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
    page = new_client(headers=HTML).post(
        "/login/", {"username": username, "password": password, "next": "//evil.example/"}
    )
    assert page.status_code == 200
    assert "do not match" in page.text


def test_an_agent_cannot_sign_in(desk: Desk):
    actor = desk.agent.membership.actor
    actor.set_password(PASSWORD)
    actor.save(update_fields=["password"])
    page = new_client(headers=HTML).post("/login/", {"username": actor.username, "password": PASSWORD})
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
        seen.append(rows_of(client.get("/")))
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


def test_100_kb_of_query_are_too_long(desk: Desk, sam: Client):
    assert sam.get("/?q=" + "x" * 100_000).status_code == 414


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


def test_query_counts_do_not_grow(desk: Desk, sam: Client):
    made = desk.escalate("count", priority=3)
    for priority in (0, 1):
        desk.escalate(priority=priority)
    desk.log("count", "one")
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
    assert rows_of(client.get("/?status=all")) == []
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
