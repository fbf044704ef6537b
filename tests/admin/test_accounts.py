"""Accounts: who administers the installation is said once, and nobody takes over who is above them (ADR 12)."""

import re

import pytest

from memoryhub.core.access.delegation import administers_installation
from memoryhub.core.actions import memberships, people
from memoryhub.core.errors import Conflict, Forbidden
from memoryhub.core.models import Actor, Membership
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.admin_pages import account, address, events, signed_in, system, text
from tests.support.factories import PASSWORD, installation, join, make_person, make_team, unique

NEW = {"email": "", "password1": PASSWORD, "password2": PASSWORD}


def ticks(client, person):
    """Which of the three ticks of a person's page are set."""
    page = client.get(address("core_actor", "change", person.actor.id))
    return {
        name for name in ("is_active", "is_staff", "is_superuser") if page.context["adminform"].form.initial.get(name)
    }


@pytest.fixture
def second(team, installer):
    """A second administrator of the installation, made by the first one's page."""
    person = make_person(team, "admin")
    assert account(signed_in(installer), person, "is_active", "is_superuser").status_code == 302
    return person


def test_unticking_superuser_ends_what_it_gave_at_the_next_request(installer, second):
    first, client = signed_in(installer), signed_in(second, system())
    assert ticks(first, second) == {"is_active", "is_staff", "is_superuser"}
    victim, before = make_person(make_team()), unique("made")
    assert client.post(address("core_actor", "add"), {"username": before, **NEW}).status_code == 302

    assert account(first, second, "is_active", "is_staff").status_code == 302
    assert ticks(first, second) == {"is_active", "is_staff"}
    assert not administers_installation(second.actor.id)
    name, password = unique("made"), victim.actor.password
    form = {"username": name, "is_superuser": "on", **NEW}
    assert client.post(address("core_actor", "add"), form).status_code == 403
    form = {"is_active": "on", "password1": "another long passphrase", "password2": "another long passphrase"}
    assert client.post(address("core_actor", "change", victim.actor.id), form).status_code == 403
    assert client.get(address("core_actor")).status_code == 403
    assert not Actor.objects.filter(username=name).exists()
    assert Actor.objects.get(id=victim.actor.id).password == password

    assert account(first, second, "is_active", "is_staff", "is_superuser").status_code == 302
    assert ticks(first, second) == {"is_active", "is_staff", "is_superuser"}
    assert signed_in(second, system()).get(address("core_actor")).status_code == 200


def test_the_membership_in_the_installations_team_is_what_the_tick_shows(installer, second):
    client = signed_in(installer)
    member = Membership.objects.get(team=system(), actor=second.actor)
    form = {"role": "admin", "clearance": 1, "compartments": ""}
    assert client.post(address("core_membership", "change", member.id), form).status_code == 302
    assert ticks(client, second) == {"is_active", "is_staff"}
    form = {"role": "lead", "clearance": 1, "compartments": "", "is_active": "on"}
    assert client.post(address("core_membership", "change", member.id), form).status_code == 302
    assert ticks(client, second) == {"is_active", "is_staff"}
    assert client.post(address("core_membership", "change", member.id), {**form, "role": "admin"}).status_code == 302
    assert ticks(client, second) == {"is_active", "is_staff", "is_superuser"}
    listed = client.get(address("core_actor"), {"superuser": "1", "q": second.username})
    assert "1 result" in text(listed)


def test_unticking_staff_closes_the_admin_pages_at_the_next_request(team, installer):
    person, other = make_person(team, "admin", is_staff=True), make_person(team, "admin", is_staff=True)
    client = signed_in(person)
    assert client.get(address("core_membership")).status_code == 200
    assert account(signed_in(installer), person, "is_active").status_code == 302
    assert ticks(signed_in(installer), person) == {"is_active"}
    assert client.get(address("core_membership")).status_code == 403
    assert signed_in(other).get(address("core_membership")).status_code == 200


def test_the_installations_administration_is_not_lost(installer, second):
    """Of all who administer it, each may lose it but the last; nobody takes their own."""
    client = signed_in(second, system())
    assert "cannot take your own administration away" in text(account(client, second, "is_active", "is_staff"))
    with viewer_transaction(system_viewer(system().id)):
        others = Membership.objects.filter(team=system(), role="admin", is_active=True)
        ids = list(others.exclude(actor__in=[installer.actor.id, second.actor.id]).values_list("id", flat=True))
    Membership.objects.filter(id__in=ids).update(is_active=False)  # as other tests made them
    try:
        # The first is the last with their clearance or equal to the second: all others go, one stays.
        assert account(signed_in(installer), second, "is_active", "is_staff").status_code == 302
        with pytest.raises(Conflict, match="last administrator of the installation"):
            people.change(
                installation(), person=installer.actor, email="", is_active=True, is_staff=True, is_superuser=False
            )
        with pytest.raises(Conflict, match="last administrator of the installation"):
            people.change(
                installation(), person=installer.actor, email="", is_active=False, is_staff=True, is_superuser=True
            )
    finally:
        Membership.objects.filter(id__in=ids).update(is_active=True)


def test_a_teams_administrator_learns_nothing_of_accounts_elsewhere(team, browser):
    stranger = make_person(make_team())
    page = address("core_membership", "add")
    forms = [
        {"username": name, "name": "x", "role": "reader", "clearance": 0, "compartments": ""}
        for name in (stranger.username, unique("nobody"), "")
    ]
    answers = [browser.post(page, form) for form in forms]
    assert {answer.status_code for answer in answers} == {403}
    assert len({re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text(answer)) for answer in answers}) == 1
    assert browser.get(page).status_code == 403
    assert not Membership.objects.filter(team=team, actor=stranger.actor).exists()
    with pytest.raises(Forbidden):
        memberships.add(make_person(team, "admin").viewer, actor=stranger.actor, name="x", role="reader", clearance=0)


def test_the_installations_administrator_gives_in_a_team_no_more_than_they_have_there(team, installer):
    """None, here: who is put on the list is not active until the team's own administrator says so."""
    client, newcomer, chief = signed_in(installer), make_person(make_team()), make_person(team, "admin", is_staff=True)
    assert account(client, newcomer, "is_active", add_to_team=team.slug).status_code == 302
    member = Membership.objects.get(team=team, actor=newcomer.actor)
    assert (member.role, member.clearance, member.is_active) == ("reader", 0, False)
    assert ("person.join", newcomer.actor.id) in events(system())[-2:]
    assert "already" in text(account(client, newcomer, "is_active", add_to_team=team.slug))
    form = {"role": "lead", "clearance": 1, "compartments": "", "is_active": "on"}
    page = address("core_membership", "change", member.id)
    assert "cannot give more" in text(signed_in(chief).post(page, {**form, "clearance": 2}))
    assert signed_in(chief).post(page, form).status_code == 302
    member.refresh_from_db()
    assert (member.role, member.clearance, member.is_active) == ("lead", 1, True)
    join(team, installer.actor, "admin", 0)
    other = make_person(make_team())
    form = {"username": other.username, "name": "Other", "role": "reader", "clearance": 1, "compartments": ""}
    inside = signed_in(installer, team)
    assert "cannot give more" in text(inside.post(address("core_membership", "add"), form))
    assert inside.post(address("core_membership", "add"), {**form, "clearance": 0}).status_code == 302


def test_nobody_takes_over_the_account_of_somebody_above_them(team, installer):
    person, client = make_person(team, "support", 0), signed_in(installer)
    other = "another long passphrase"
    password = {"password1": other, "password2": other}
    before = events(system())
    assert "act as them" in text(account(client, person, "is_active", **password))
    join(team, installer.actor, "reader", 2)  # reads as much, but may do less
    assert "act as them" in text(account(client, person, "is_active", **password))
    assert events(system()) == before
    assert not Actor.objects.get(id=person.actor.id).check_password(other)
    assert account(client, person).status_code == 302  # taking away is free
    assert "act as them" in text(account(client, person, "is_active"))
    assert not Actor.objects.get(id=person.actor.id).is_active
    own = Membership.objects.get(team=team, actor=installer.actor)
    memberships.change(system_viewer(team.id), member=own, role="support", clearance=0, compartments=[], is_active=True)
    assert account(client, person, "is_active", **password).status_code == 302
    assert Actor.objects.get(id=person.actor.id).check_password(other)
