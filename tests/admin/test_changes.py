import re

import pytest

from agents.authentication import authenticate
from agents.models import Agent, ApiKey
from escalations.models import Escalation, Queue
from memoryhub.core.errors import Unauthorized
from memoryhub.core.models import SYSTEM_TEAM, Actor, Membership, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.admin_pages import address, as_shown, events, fill, signed_in, system, text
from tests.support.factories import PASSWORD, make_agent, make_person, make_team, unique


def test_a_person_is_added_to_the_team_by_user_name(team, head_browser):
    newcomer = make_person(make_team())
    page = address("core_membership", "add")
    form = {
        "username": newcomer.username,
        "name": "Ann",
        "role": "lead",
        "clearance": 2,
        "compartments": "pii, finance",
    }
    assert head_browser.post(page, form).status_code == 302
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
def test_a_bad_form_is_told_and_changes_nothing(team, head_browser, change):
    newcomer = make_person(make_team())
    before = events(team)
    form = {"username": newcomer.username, "name": "Ben", "role": "lead", "clearance": 1, "compartments": "", **change}
    answer = head_browser.post(address("core_membership", "add"), form)
    assert answer.status_code == 200
    assert "errorlist" in text(answer)
    assert events(team) == before
    assert not Membership.objects.filter(team=team, actor=newcomer.actor).exists()


def test_what_an_action_refuses_is_told_on_the_form_and_undone(team, head_browser, head):
    newcomer = make_person(make_team())
    page = address("core_membership", "add")
    form = {"username": newcomer.username, "name": head.name, "role": "lead", "clearance": 1}
    before, actors = events(team), Actor.objects.count()
    answer = head_browser.post(page, form)
    assert answer.status_code == 200
    assert "is taken in this team" in text(answer)
    own = address("core_membership", "change", head.membership.id)
    answer = head_browser.post(own, {"role": "admin", "clearance": 1, "compartments": "", "is_active": "on"})
    assert answer.status_code == 200
    assert "cannot change your own rights" in text(answer)
    # An agent's account is made before its name is found to be taken.
    answer = head_browser.post(address("agents_agent", "add"), {"name": head.name, "clearance": 1})
    assert "is taken in this team" in text(answer)
    assert (events(team), Actor.objects.count()) == (before, actors)
    assert Membership.objects.get(id=head.membership.id).clearance == 2


def test_a_members_rights_are_changed_by_the_action(team, head_browser):
    person = make_person(team)
    page = address("core_membership", "change", person.membership.id)
    assert head_browser.get(page).status_code == 200
    assert head_browser.post(page, {"role": "lead", "clearance": 2, "compartments": "pii"}).status_code == 302
    member = Membership.objects.get(id=person.membership.id)
    assert (member.role, member.clearance, member.compartments, member.is_active) == ("lead", 2, ["pii"], False)
    assert (member.name, member.actor_id) == (person.name, person.actor.id)
    assert events(team)[-1] == ("membership.change", member.id)


def test_agents_are_listed_among_the_members_but_changed_on_their_own_pages(team, browser):
    agent = make_agent(team)
    page = address("core_membership", "change", agent.membership.id)
    listed = text(browser.get(address("core_membership")))
    assert agent.name in listed
    assert agent.membership.actor.username not in listed  # a number that nobody types
    assert "_save" not in text(browser.get(page))
    system = Membership.objects.get(team=team, role="system")
    for member in (agent.membership, system):
        form = {"role": "admin", "clearance": 2, "compartments": "", "is_active": "on"}
        assert browser.post(address("core_membership", "change", member.id), form).status_code == 403
        assert Membership.objects.get(id=member.id).role == member.role


def test_an_agent_and_its_key_which_is_shown_once(team, head_browser):
    name = unique("research")
    form = {"name": name, "group": "research", "description": "Looks up", "clearance": 1, "compartments": "pii"}
    assert head_browser.post(address("agents_agent", "add"), form).status_code == 302
    agent = Agent.objects.get(membership__team=team, membership__name=name)
    assert (agent.group, agent.membership.compartments) == ("research", ["pii"])

    form = {"membership": str(agent.pk), "name": "first", "scopes": ["tasks", "memory:read"]}
    form |= {"days": "7", "rate_limit": "90"}
    answer = head_browser.post(address("agents_apikey", "add"), form)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [key] = set(re.findall(r"mh_agent_\w+", text(answer)))
    assert authenticate(f"Bearer {key}", "r").scopes == {"tasks", "memory:read"}
    row = ApiKey.objects.get(membership=agent.membership)
    assert row.expires_at is not None
    assert row.rate_limit == 90
    for page in (address("agents_apikey"), address("agents_apikey", "change", row.id)):
        assert key not in text(head_browser.get(page))
    assert key not in str(dict(head_browser.session.items()))
    assert key not in str(head_browser.cookies)

    page = address("agents_agent", "change", agent.pk)
    form = {"group": "", "description": "", "clearance": 0, "compartments": "", "is_active": "on"}
    assert head_browser.get(page).status_code == 200
    assert head_browser.post(page, form).status_code == 302
    assert authenticate(f"Bearer {key}", "r").clearance == 0

    page = address("agents_apikey", "change", row.id)
    assert head_browser.post(page, {}).status_code == 302
    assert authenticate(f"Bearer {key}", "r")
    assert head_browser.post(page, {"revoke": "on"}).status_code == 302
    with pytest.raises(Unauthorized):
        authenticate(f"Bearer {key}", "r")
    assert head_browser.get(page).status_code == 200
    assert head_browser.post(page, {"revoke": "on"}).status_code == 403
    assert [verb for verb, _ in events(team)[-5:]] == [
        "agent.add",
        "key.issue",
        "membership.change",
        "agent.change",
        "key.revoke",
    ]


def shown(answer):
    """The keys on a page."""
    return set(re.findall(r"mh_agent_[0-9A-Za-z]{46}", text(answer)))


def once(page):
    """The one-time mark of a page's form."""
    [mark] = re.findall(r'name="once" value="([0-9a-f-]{36})"', text(page))
    return mark


def test_a_page_that_is_loaded_again_issues_no_second_key(team, browser):
    agent = make_agent(team)
    page = address("agents_apikey", "add")
    form = {"membership": str(agent.membership.id), "name": "", "scopes": ["tasks"], "once": once(browser.get(page))}
    [key] = shown(browser.post(page, form))
    again = browser.post(page, form)
    assert again.status_code == 200
    assert "shown already" in text(again)
    assert shown(again) == set()
    assert ApiKey.objects.filter(membership=agent.membership).count() == 2  # the first is make_agent's
    assert authenticate(f"Bearer {key}", "r")
    # A form that was refused may be sent again.
    form = {**form, "once": once(browser.get(page))}
    assert "errorlist" in text(browser.post(page, {**form, "scopes": []}))
    assert shown(browser.post(page, form))


def test_a_key_is_rotated_and_the_new_one_shown_once(team, browser):
    agent = make_agent(team)
    page = address("agents_apikey", "change", agent.key_id)
    form = {"rotate": "on", "overlap_hours": "2", "once": once(browser.get(page))}
    answer = browser.post(page, form)
    assert "no-store" in answer["Cache-Control"]
    [key] = shown(answer)
    assert authenticate(f"Bearer {key}", "r").scopes == agent.scopes
    assert authenticate(f"Bearer {agent.key}", "r")
    old = ApiKey.objects.get(id=agent.key_id)
    assert old.replaced_by.prefix == key[:14]
    assert old.replaced_by.prefix in text(browser.get(page))
    again = browser.post(page, form)
    assert (shown(again), "shown already" in text(again)) == (set(), True)
    refused = browser.post(page, {"rotate": "on"})
    assert "rotated already" in text(refused)
    assert ApiKey.objects.filter(membership=agent.membership).count() == 2
    assert events(team)[-1] == ("key.rotate", old.id)
    assert key not in str(dict(browser.session.items()))


@pytest.mark.parametrize("form", [{"rotate": "on", "revoke": "on"}, {"rotate": "on", "overlap_hours": "721"}])
def test_a_key_is_not_rotated_by_a_form_that_makes_no_sense(team, browser, form):
    agent = make_agent(team)
    answer = browser.post(address("agents_apikey", "change", agent.key_id), form)
    assert "errorlist" in text(answer)
    assert ApiKey.objects.get(membership=agent.membership).revoked_at is None


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
    assert client.post(page, {"name": "Newer", "acknowledge_hours": "12", "feed_days": "7"}).status_code == 302
    team.refresh_from_db()
    assert (team.name, team.tell_withheld, team.acknowledge_hours, team.slug) == ("Newer", False, 12, slug)
    assert team.decisions_changed_by == "all"
    rule = {"name": "Newer", "acknowledge_hours": "12", "feed_days": "7", "decisions_changed_by": "author_and_holder"}
    assert client.post(page, rule).status_code == 302
    assert Team.objects.get(id=team.id).decisions_changed_by == "author_and_holder"
    assert team.feed_days == 7
    for hours, days in (("0", "7"), ("12", "0"), ("12", "3651")):
        answer = client.post(page, {"name": "Newer", "acknowledge_hours": hours, "feed_days": days})
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
        assert PASSWORD not in text(answer)
    assert not Actor.objects.filter(username=username).exists()


def test_ones_own_password_is_not_changed_where_nobody_asks_for_the_present_one(installer):
    """With a session that was stolen it would be the thief's."""
    client, page = signed_in(installer), address("core_actor", "change", installer.actor.id)
    form, before = as_shown(client.get(page)), events(system())
    assert "password1" not in form
    other = {"password1": "another long passphrase", "password2": "another long passphrase"}
    assert "/account/password/" in text(client.post(page, {**form, **other}))
    assert Actor.objects.get(id=installer.actor.id).check_password(PASSWORD)
    assert events(system()) == before
    assert client.post(page, {**form, "email": "a@example.org"}).status_code == 302
    del form["is_superuser"]
    assert "cannot take your own administration away" in text(client.post(page, form))


def test_what_cannot_be_seen_is_shown_and_comes_back_unchanged(team, browser):
    odd = " x\u202ey\r\nz\u200b "
    agent = make_agent(team, name=unique("odd"))
    row = Agent.objects.get(membership=agent.membership)
    Agent.objects.filter(pk=row.pk).update(description=odd)
    page = address("agents_agent", "change", row.pk)
    shown = text(browser.get(page))
    assert "\u202e" not in shown
    sent = " x⟨U+202E⟩y⟨U+000D⟩\r\nz⟨U+200B⟩ "
    assert sent.replace("\r\n", "\n") in shown
    form = {"group": "new", "description": sent, "clearance": 1, "compartments": "", "is_active": "on"}
    assert browser.post(page, form).status_code == 302
    row.refresh_from_db()
    assert (row.group, row.description) == ("new", odd)
    assert browser.post(page, {**form, "description": "w⟨U+202E⟩"}).status_code == 302
    row.refresh_from_db()
    assert row.description == "w\u202e"
