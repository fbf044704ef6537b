import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from agents.authentication import authenticate
from agents.models import Agent, ApiKey
from escalations.actions.escalate import escalate
from escalations.models import Escalation, Queue
from memoryhub.core.admin_base import HubAdmin
from memoryhub.core.errors import Unauthorized
from memoryhub.core.models import SYSTEM_TEAM, AccessLog, Actor, Event, Membership, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions, observations, tasks
from memoryhub.memory.models import Decision, Observation, Task
from tests.factories import PASSWORD, join, make_agent, make_person, make_team, unique

RECORDS = ["memory_task", "memory_observation", "memory_decision", "escalations_escalation"]
LISTS = [*RECORDS, "core_membership", "agents_agent", "agents_apikey", "escalations_queue", "core_event"]
LISTS += ["core_accesslog", "core_outbox"]
SECRET = "the word zanzibar"


def signed_in(person, team=None):
    """A browser of the person, whose active team is the given one."""
    client = Client()
    client.force_login(person.actor, "memoryhub.core.people.PeopleBackend")
    if team is not None:
        session = client.session
        session["team"] = team.id
        session.save()
    return client


@pytest.fixture
def team():
    return make_team()


@pytest.fixture
def chief(team):
    """An administrator of the team, who sees what is internal."""
    return make_person(team, "admin", is_staff=True)


@pytest.fixture
def browser(chief):
    return signed_in(chief)


@pytest.fixture
def installer():
    """An administrator of the installation."""
    team = Team.objects.get(slug=SYSTEM_TEAM)
    return make_person(team, "admin", is_staff=True, is_superuser=True)


def address(model, page="changelist", *args):
    return reverse(f"admin:{model}_{page}", args=args)


def events(team):
    with viewer_transaction(system_viewer(team.id)):
        return list(Event.objects.filter(team=team).order_by("clock__seq").values_list("type", "row_id"))


def text(response):
    return unescape(response.content.decode())


def fill(agent, *, sensitivity=None, compartments=None, content="Hello", key=None):
    """A task with an observation, a private one, a decision and an escalation."""
    viewer = agent.viewer
    task, _ = tasks.create(
        viewer, key=key or unique("task"), title=content, sensitivity=sensitivity, compartments=compartments
    )
    label = {"sensitivity": sensitivity, "compartments": compartments}
    items = [
        observations.NewObservation(content=content, task=task, private=private, **label) for private in (False, True)
    ]
    shared, private = (observations.log(viewer, item=item).id for item in items)
    decision, _ = decisions.record(viewer, task=task, decision=content, reasoning=content)
    escalation, _ = escalate(viewer, task=task, reason_code="other", reason=content, question=content)
    return {
        "memory_task": task.id,
        "memory_observation": shared,
        "memory_decision": decision,
        "escalations_escalation": escalation.id,
        "private": private,
    }


def test_nobody_is_led_to_the_sign_in_page():
    for page in ("/admin/", address("core_membership"), address("memory_task")):
        answer = Client().get(page)
        assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={page}")
    assert Client().get("/admin/login/")["Location"] == "/login/"


def test_no_agent_can_sign_in_or_use_its_key(team):
    agent = make_agent(team)
    client = Client()
    answer = client.post("/login/", {"username": agent.membership.actor.username, "password": agent.key})
    assert "_auth_user_id" not in client.session
    answer = client.get("/admin/", headers=agent.headers)
    assert answer.status_code == 403
    client.force_login(agent.membership.actor, "memoryhub.core.people.PeopleBackend")
    assert client.get("/admin/")["Location"].startswith("/login/")


@pytest.mark.parametrize(("role", "staff"), [("reader", True), ("support", True), ("lead", True), ("admin", False)])
def test_who_does_not_administer_the_team_gets_a_403_page(team, role, staff):
    person = make_person(team, role, is_staff=staff)
    client = signed_in(person)
    for page in ["/admin/", *map(address, LISTS), address("core_membership", "add")]:
        answer = client.get(page)
        assert answer.status_code == 403
        assert "not an administrator" in text(answer)
    before = events(team)
    answer = client.post(address("agents_agent", "add"), {"name": "x", "clearance": 1})
    assert (answer.status_code, events(team)) == (403, before)


def test_somebody_without_a_team_gets_a_403_page(team):
    person = make_person(team, "admin", is_staff=True)
    Membership.objects.filter(id=person.membership.id).update(is_active=False)
    assert signed_in(person).get("/admin/").status_code == 403


def test_the_active_team_is_switched_from_every_page_also_from_a_refusal(team, chief):
    other = make_team()
    join(other, chief.actor, "support")
    client = signed_in(chief, other)
    refusal = client.get("/admin/")
    assert refusal.status_code == 403
    assert f'value="{team.id}"' in text(refusal)
    answer = client.post("/admin/team/", {"team": team.id})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200
    stranger = make_team()
    client.post("/admin/team/", {"team": stranger.id})
    assert client.get("/admin/").status_code == 200
    assert client.session["team"] == team.id
    assert client.get("/admin/team/").status_code == 405


def test_each_team_shows_its_own_pages(browser, installer):
    inside, outside = browser.get("/admin/"), signed_in(installer).get("/admin/")
    for model in LISTS:
        assert address(model) in text(inside)
    for model in ("core_team", "core_actor"):
        assert address(model) not in text(inside)
        assert address(model) in text(outside)
        assert browser.get(address(model)).status_code == 403
        assert browser.get(address(model, "add")).status_code == 403
    assert signed_in(installer).get(address("memory_task")).status_code == 403


def test_every_page_works_and_no_model_but_ours_is_there(browser, team):
    made = fill(make_agent(team))
    for model in LISTS:
        assert browser.get(address(model)).status_code == 200
    for model in RECORDS:
        assert browser.get(address(model, "change", made[model])).status_code == 200
    assert browser.get(address("core_event", "change", events(team)[0][1])).status_code in (302, 404)
    assert all(isinstance(page, HubAdmin) for page in admin.site._registry.values())


def test_nothing_can_be_deleted_and_records_cannot_be_changed(browser, team):
    made = fill(make_agent(team))
    for model in LISTS:
        for page in ("delete", "history"):
            with pytest.raises(NoReverseMatch):
                address(model, page, 1)
    before = events(team)
    for model in RECORDS:
        page = address(model, "change", made[model])
        assert "_save" not in text(browser.get(page))
        assert browser.post(page, {"status": "done", "state": "closed"}).status_code == 403
        assert browser.get(f"{address(model)}{made[model]}/delete/").status_code in (302, 404)
        assert browser.post(f"{address(model)}{made[model]}/delete/", {"post": "yes"}).status_code in (302, 403, 404)
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:{model}_delete", args=[made[model]])
    for model in (*RECORDS, "core_event", "core_accesslog", "core_outbox"):
        assert browser.get(address(model, "add")).status_code == 403
        answer = browser.post(address(model), {"action": "delete_selected", "_selected_action": [str(made["private"])]})
        assert answer.status_code in (200, 302, 403)
    assert events(team) == before
    assert not LogEntry.objects.exists()


def test_what_is_above_ones_clearance_is_absent(team, browser):
    agent = make_agent(team, 2, ["finance"])
    hidden = fill(agent, sensitivity=2, compartments=["finance"], content=SECRET, key="hidden-task")
    shown = fill(make_agent(team), key="shown-task")
    for model in [*RECORDS, "core_event"]:
        page = text(browser.get(address(model)))
        for row_id in hidden.values():
            assert str(row_id) not in page
        assert "hidden-task" not in page
        assert "finance" not in page
    for model in RECORDS:
        absent = browser.get(address(model, "change", "01890000-0000-7000-8000-000000000000"), follow=True)
        answer = browser.get(address(model, "change", hidden[model]), follow=True)
        assert answer.status_code == absent.status_code == 200
        assert SECRET not in text(answer)
        assert [url for url, _ in answer.redirect_chain] == [url for url, _ in absent.redirect_chain] == ["/admin/"]
        assert browser.get(address(model, "change", shown[model])).status_code == 200
    assert "hidden-task" not in text(browser.get(address("memory_task"), {"q": "hidden-task"}))
    assert "1 task" in text(browser.get(address("memory_task"), {"q": "shown-task"}))


def test_the_key_of_a_task_that_is_hidden_is_not_shown_beside_its_rows(team, browser):
    agent = make_agent(team, 2, ["finance"])
    task, _ = tasks.create(agent.viewer, key="hidden-task", title="x", sensitivity=2, compartments=["finance"])
    low = {"sensitivity": 1, "compartments": []}
    seen = observations.log(agent.viewer, item=observations.NewObservation(content="low", task=task, **low)).id
    for page in (address("memory_observation"), address("memory_observation", "change", seen)):
        answer = text(browser.get(page))
        assert str(seen) in answer
        assert "hidden-task" not in answer


def test_confidential_text_is_opened_on_its_own_page_only_and_that_is_recorded(team):
    chief = make_person(team, "admin", 2, is_staff=True)
    client = signed_in(chief)
    made = fill(make_agent(team, 2), sensitivity=2, compartments=[], content=SECRET)

    def opened():
        with viewer_transaction(system_viewer(team.id)):
            return {
                str(row) for row in AccessLog.objects.filter(reader=chief.membership).values_list("row_id", flat=True)
            }

    for model in RECORDS:
        assert SECRET not in text(client.get(address(model)))
    assert opened() == set()
    for model in RECORDS:
        assert SECRET in text(client.get(address(model, "change", made[model])))
    assert opened() == {str(made[model]) for model in RECORDS}
    assert str(made["memory_task"]) in text(client.get(address("core_accesslog")))


def test_private_observations_are_their_authors(team, browser):
    made = fill(make_agent(team))
    assert str(made["private"]) not in text(browser.get(address("memory_observation")))
    answer = browser.get(address("memory_observation", "change", made["private"]), follow=True)
    assert answer.redirect_chain


def test_other_teams_are_absent(browser, chief):
    other = make_team()
    fill(make_agent(other), key="foreign-task")
    agent, person = make_agent(other), make_person(other)
    for model in LISTS:
        page = text(browser.get(address(model)))
        for word in (agent.name, person.name, "foreign-task", ApiKey.objects.get(id=agent.key_id).prefix):
            assert word not in page
    queue = Queue.objects.get(team=other)
    rows = {
        "agents_agent": agent.membership.id,
        "agents_apikey": agent.key_id,
        "core_membership": person.membership.id,
        "escalations_queue": queue.id,
    }
    before = events(other)
    for model, row in rows.items():
        assert browser.get(address(model, "change", row)).status_code == 302
        assert browser.post(address(model, "change", row), {"revoke": "on", "claim_minutes": 1}).status_code == 302
    assert events(other) == before


def test_lists_ask_as_much_at_one_row_as_at_many(team, browser):
    def asked():
        counts = {}
        for model in LISTS:
            with CaptureQueriesContext(connection) as queries:
                assert browser.get(address(model)).status_code == 200
            counts[model] = len(queries)
        return counts

    agent = make_agent(team)
    fill(agent)
    make_person(team)
    browser.get("/admin/")
    one = asked()
    for _ in range(8):
        fill(make_agent(team, group="many"))
        make_person(team)
    assert asked() == one


def test_a_person_is_added_to_the_team_by_user_name(team, browser):
    newcomer = make_person(make_team())
    page = address("core_membership", "add")
    form = {
        "username": newcomer.username,
        "name": "Ann",
        "role": "lead",
        "clearance": 2,
        "compartments": "pii, finance",
    }
    assert browser.post(page, form).status_code == 302
    member = Membership.objects.get(team=team, actor=newcomer.actor)
    assert (member.name, member.role, member.clearance) == ("Ann", "lead", 2)
    assert member.compartments == ["finance", "pii"]
    assert events(team)[-1] == ("membership.add", member.id)


@pytest.mark.parametrize(
    "change",
    [
        {"username": "nobody-at-all"},
        {"compartments": "Not Good!"},
        {"compartments": "x" * 41},
        {"role": "agent"},
        {"role": "system"},
        {"clearance": "3"},
        {"name": ""},
        {"name": "\0"},
        {"username": "\0"},
    ],
)
def test_a_bad_form_is_told_and_changes_nothing(team, browser, change):
    newcomer = make_person(make_team())
    before = events(team)
    form = {"username": newcomer.username, "name": "Ben", "role": "lead", "clearance": 1, "compartments": "", **change}
    answer = browser.post(address("core_membership", "add"), form)
    assert answer.status_code == 200
    assert "errorlist" in text(answer)
    assert events(team) == before
    assert not Membership.objects.filter(team=team, actor=newcomer.actor).exists()


def test_what_an_action_refuses_is_told_on_the_form_and_undone(team, browser, chief):
    newcomer = make_person(make_team())
    page = address("core_membership", "add")
    form = {"username": newcomer.username, "name": chief.name, "role": "lead", "clearance": 1}
    before, actors = events(team), Actor.objects.count()
    answer = browser.post(page, form)
    assert answer.status_code == 200
    assert "is taken in this team" in text(answer)
    own = address("core_membership", "change", chief.membership.id)
    answer = browser.post(own, {"role": "admin", "clearance": 2, "compartments": "", "is_active": "on"})
    assert answer.status_code == 200
    assert "cannot change your own rights" in text(answer)
    # An agent's account is made before its name is found to be taken.
    answer = browser.post(address("agents_agent", "add"), {"name": chief.name, "clearance": 1})
    assert "is taken in this team" in text(answer)
    assert (events(team), Actor.objects.count()) == (before, actors)
    assert Membership.objects.get(id=chief.membership.id).clearance == 1


def test_a_members_rights_are_changed_by_the_action(team, browser):
    person = make_person(team)
    page = address("core_membership", "change", person.membership.id)
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"role": "lead", "clearance": 2, "compartments": "pii"}).status_code == 302
    member = Membership.objects.get(id=person.membership.id)
    assert (member.role, member.clearance, member.compartments, member.is_active) == ("lead", 2, ["pii"], False)
    assert (member.name, member.actor_id) == (person.name, person.actor.id)
    assert events(team)[-1] == ("membership.change", member.id)


def test_an_agent_and_its_key_which_is_shown_once(team, browser):
    name = unique("research")
    form = {"name": name, "group": "research", "description": "Looks up", "clearance": 1, "compartments": "pii"}
    assert browser.post(address("agents_agent", "add"), form).status_code == 302
    agent = Agent.objects.get(membership__team=team, membership__name=name)
    assert (agent.group, agent.membership.compartments) == ("research", ["pii"])

    form = {"membership": str(agent.pk), "name": "first", "scopes": ["tasks", "memory:read"], "days": "7"}
    answer = browser.post(address("agents_apikey", "add"), form)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [key] = set(re.findall(r"mh_agent_\w+", text(answer)))
    assert authenticate(f"Bearer {key}", "r").scopes == {"tasks", "memory:read"}
    row = ApiKey.objects.get(membership=agent.membership)
    assert row.expires_at is not None
    for page in (address("agents_apikey"), address("agents_apikey", "change", row.id)):
        assert key not in text(browser.get(page))
    assert key not in str(dict(browser.session.items()))
    assert key not in str(browser.cookies)

    page = address("agents_agent", "change", agent.pk)
    form = {"group": "", "description": "", "clearance": 0, "compartments": "", "is_active": "on"}
    assert browser.get(page).status_code == 200
    assert browser.post(page, form).status_code == 302
    assert authenticate(f"Bearer {key}", "r").clearance == 0

    page = address("agents_apikey", "change", row.id)
    assert browser.post(page, {}).status_code == 302
    assert authenticate(f"Bearer {key}", "r")
    assert browser.post(page, {"revoke": "on"}).status_code == 302
    with pytest.raises(Unauthorized):
        authenticate(f"Bearer {key}", "r")
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"revoke": "on"}).status_code == 403
    assert [verb for verb, _ in events(team)[-5:]] == [
        "agent.add",
        "key.issue",
        "membership.change",
        "agent.change",
        "key.revoke",
    ]


@pytest.mark.parametrize(
    "change", [{"scopes": []}, {"scopes": ["root"]}, {"days": "0"}, {"days": "x"}, {"membership": "x"}]
)
def test_a_bad_key_form_issues_nothing(team, browser, change):
    agent = make_agent(team)
    form = {"membership": str(agent.membership.id), "name": "", "scopes": ["tasks"], "days": "", **change}
    answer = browser.post(address("agents_apikey", "add"), form)
    assert answer.status_code == 200
    assert "mh_agent_" not in text(answer)
    assert ApiKey.objects.filter(membership=agent.membership).count() == 1


def test_a_key_of_another_teams_agent_cannot_be_issued(browser):
    agent = make_agent(make_team())
    answer = browser.post(
        address("agents_apikey", "add"), {"membership": str(agent.membership.id), "scopes": ["tasks"]}
    )
    assert "errorlist" in text(answer)
    assert ApiKey.objects.filter(membership=agent.membership).count() == 1


def test_a_queues_claim_time_is_changed_by_the_action(team, browser):
    made = fill(make_agent(team))
    with viewer_transaction(system_viewer(team.id)):
        queue = Escalation.objects.get(id=made["escalations_escalation"]).queue
    page = address("escalations_queue", "change", queue.id)
    assert browser.post(page, {"claim_minutes": "45"}).status_code == 302
    assert Queue.objects.get(id=queue.id).claim_minutes == 45
    assert events(team)[-1][0] == "queue.change"
    for minutes in ("0", "1441", "x", ""):
        assert browser.post(page, {"claim_minutes": minutes}).status_code == 200
    assert Queue.objects.get(id=queue.id).claim_minutes == 45


def test_the_installations_administrator_adds_teams_and_people(installer):
    client, username, slug = signed_in(installer), unique("new"), unique("team")
    system = Team.objects.get(slug=SYSTEM_TEAM)
    form = {"username": username, "email": "", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(address("core_actor", "add"), form).status_code == 302
    person = Actor.objects.get(username=username)
    assert person.check_password(PASSWORD)
    assert events(system)[-1] == ("person.add", person.id)

    assert client.post(address("core_team", "add"), {"slug": slug, "name": "New"}).status_code == 302
    team = Team.objects.get(slug=slug)
    assert Membership.objects.get(team=team, actor=installer.actor).role == "admin"
    page = address("core_team", "change", team.id)
    assert client.post(page, {"name": "Newer", "acknowledge_hours": "12"}).status_code == 302
    team.refresh_from_db()
    assert (team.name, team.tell_withheld, team.acknowledge_hours, team.slug) == ("Newer", False, 12, slug)
    answer = client.post(page, {"name": "Newer", "acknowledge_hours": "0"})
    assert answer.status_code == 200

    other = "another long passphrase"
    page = address("core_actor", "change", person.id)
    form = {"email": "a@example.org", "is_active": "on", "password1": other, "password2": other}
    assert client.post(page, form).status_code == 302
    person.refresh_from_db()
    assert (person.email, person.check_password(other)) == ("a@example.org", True)
    assert [verb for verb, _ in events(system)[-2:]] == ["person.change", "person.set_password"]


def test_a_weak_or_mistyped_password_is_told_and_changes_nothing(installer):
    client, username = signed_in(installer), unique("new")
    for first, second in (("short", "short"), (PASSWORD, PASSWORD + "!"), (PASSWORD, "")):
        form = {"username": username, "email": "", "password1": first, "password2": second}
        answer = client.post(address("core_actor", "add"), form)
        assert answer.status_code == 200
        assert "errorlist" in text(answer)
        assert first not in text(answer)
    assert not Actor.objects.filter(username=username).exists()


def test_ones_own_password_is_changed_without_being_signed_out_and_ends_other_sessions(installer):
    client, elsewhere = signed_in(installer), signed_in(installer)
    other = "another long passphrase"
    form = {
        "email": "",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "password1": other,
        "password2": other,
    }
    assert client.post(address("core_actor", "change", installer.actor.id), form).status_code == 302
    assert client.get("/admin/").status_code == 200
    assert elsewhere.get("/admin/").status_code == 302
    del form["is_superuser"]
    answer = client.post(address("core_actor", "change", installer.actor.id), form)
    assert "cannot take your own administration away" in text(answer)


def test_filters_that_are_not_shown_are_refused(browser, installer):
    """Else a column that is not shown could be guessed, a character at a time."""
    client = signed_in(installer)
    assert client.get(address("core_actor"), {"password__startswith": "p"}).status_code == 400
    for query in ({"author__actor__password__startswith": "p"}, {"body__contains": "x"}, {"sealed__isnull": "1"}):
        assert browser.get(address("memory_task"), query).status_code == 400
    for query in (
        {"status__exact": "open"},
        {"status__exact": "\0"},
        {"q": "\0"},
        {"p": "x"},
        {"p": "99999"},
        {"o": "9"},
    ):
        assert browser.get(address("memory_task"), query).status_code in (200, 302, 400)


def test_the_second_lock_holds_where_the_first_is_forgotten(team, browser, monkeypatch):
    agent = make_agent(team, 2, ["finance"])
    hidden = fill(agent, sensitivity=2, compartments=["finance"], key="hidden-task")
    monkeypatch.setattr("memoryhub.core.admin_base.visible_to", lambda viewer, rows: rows)
    for model in RECORDS:
        page = text(browser.get(address(model)))
        assert str(hidden[model]) not in page
        assert "hidden-task" not in page


def test_every_row_is_counted_up_to_the_bound(team, browser, monkeypatch):
    agent = make_agent(team)
    for _ in range(4):
        fill(agent)
    assert "4 tasks" in text(browser.get(address("memory_task")))
    monkeypatch.setattr("memoryhub.core.admin_base.MOST_ROWS", 3)
    assert "3 tasks" in text(browser.get(address("memory_task")))
    with viewer_transaction(agent.viewer):
        assert [model.objects.filter(team=team).count() for model in (Task, Observation, Decision)] == [4, 8, 4]
