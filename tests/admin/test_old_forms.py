"""A form that was opened before somebody else changed something gives nothing back, rights least of all."""

from agents.actions import agents
from agents.models import Agent
from escalations.actions import queues
from escalations.models import Queue
from memoryhub.core.access.delegation import administers_installation
from memoryhub.core.actions import memberships, people, teams
from memoryhub.core.models import Actor, Membership
from memoryhub.core.viewers import system_viewer
from tests.support.admin_pages import address, as_shown, signed_in, system, text
from tests.support.factories import installation, make_agent, make_person

TAKEN = {"clearance": 0, "compartments": [], "is_active": False}


def rights(member):
    found = Membership.objects.get(id=member.id)
    return {name: getattr(found, name) for name in ("role", *TAKEN)}


def test_of_a_member_only_what_was_touched_is_changed(team, head_browser):
    lee = make_person(team, "lead", 2, ["finance"])
    page = address("core_membership", "change", lee.membership.id)
    form = as_shown(head_browser.get(page))
    memberships.change(system_viewer(team.id), member=lee.membership, role="reader", **TAKEN)
    assert head_browser.post(page, {**form, "clearance": "1"}).status_code == 302
    assert rights(lee.membership) == {"role": "reader", **TAKEN, "clearance": 1}
    form = as_shown(head_browser.get(page))
    memberships.change(system_viewer(team.id), member=lee.membership, clearance=0)
    form |= {"role": "lead", "compartments": "pii", "is_active": "on"}
    assert head_browser.post(page, form).status_code == 302
    assert rights(lee.membership) == {"role": "lead", "clearance": 0, "compartments": ["pii"], "is_active": True}


def test_of_an_agent_too(team, head_browser):
    agent = make_agent(team, 2, ["finance"])
    page = address("agents_agent", "change", agent.membership.id)
    form = as_shown(head_browser.get(page))
    agents.change(system_viewer(team.id), agent=agent.agent, group="night", **TAKEN)
    assert head_browser.post(page, {**form, "description": "Looks up"}).status_code == 302
    assert rights(agent.membership) == {"role": "agent", **TAKEN}
    found = Agent.objects.get(pk=agent.membership.id)
    assert (found.group, found.description) == ("night", "Looks up")
    agents.change(system_viewer(team.id), agent=agent.agent, description="Books")
    assert head_browser.post(page, {**form, "group": "day"}).status_code == 302
    found = Agent.objects.get(pk=agent.membership.id)
    assert (found.group, found.description) == ("day", "Books")
    assert head_browser.post(page, {**form, "clearance": "1"}).status_code == 302
    assert rights(agent.membership) == {"role": "agent", **TAKEN, "clearance": 1}


def test_of_an_account_too(installer):
    lee = make_person(system(), "admin", is_staff=True)
    client, page = signed_in(installer), address("core_actor", "change", lee.actor.id)
    form = as_shown(client.get(page))
    people.change(
        installation(), person=lee.actor, email="b@example.org", is_active=False, is_staff=False, is_superuser=False
    )
    assert client.post(page, {**form, "email": "a@example.org"}).status_code == 302
    found = Actor.objects.get(id=lee.actor.id)
    assert (found.email, found.is_active, found.is_staff) == ("a@example.org", False, False)
    assert not administers_installation(lee.actor.id)
    people.change(installation(), person=lee.actor, email="b@example.org")
    assert client.post(page, {name: value for name, value in form.items() if name != "is_staff"}).status_code == 302
    assert Actor.objects.get(id=lee.actor.id).email == "b@example.org"


def test_a_form_that_was_refused_still_knows_what_was_shown_first(team):
    chief, lee = make_person(team, "admin", 1, is_staff=True), make_person(team, "support", 0)
    client, page = signed_in(chief), address("core_membership", "change", lee.membership.id)
    form = as_shown(client.get(page))
    memberships.change(system_viewer(team.id), member=lee.membership, is_active=False)
    refused = client.post(page, {**form, "clearance": "2"})
    assert "cannot give more" in text(refused)
    assert client.post(page, {**as_shown(refused), "clearance": "1"}).status_code == 302
    assert rights(lee.membership) == {"role": "support", "clearance": 1, "compartments": [], "is_active": False}


def test_of_the_rules_of_a_team_too(team, installer):
    client, page = signed_in(installer), address("core_team", "change", team.id)
    form = as_shown(client.get(page))
    teams.change(installation(), team=team, name="Night", tell_withheld=False, decisions_changed_by="author_and_holder")
    assert client.post(page, {**form, "feed_days": "7"}).status_code == 302
    team.refresh_from_db()
    assert (team.name, team.tell_withheld, team.decisions_changed_by) == ("Night", False, "author_and_holder")
    assert team.feed_days == 7


def test_of_a_queue_too(team, head_browser):
    queue = Queue.objects.create(team=team, name="first")
    page = address("escalations_queue", "change", queue.id)
    form = as_shown(head_browser.get(page))
    queues.change(system_viewer(team.id), queue=queue, claim_minutes=60)
    assert head_browser.post(page, form).status_code == 302
    assert Queue.objects.get(id=queue.id).claim_minutes == 60
    assert head_browser.post(page, {**form, "claim_minutes": "5"}).status_code == 302
    assert Queue.objects.get(id=queue.id).claim_minutes == 5
