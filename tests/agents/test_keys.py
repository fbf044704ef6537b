import hashlib
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import agents, keys
from agents.authentication import authenticate
from agents.keys import ALPHABET, digest_of, make_key
from agents.models import DEFAULT_SCOPES, Agent, ApiKey
from memoryhub.core.actions import memberships, people
from memoryhub.core.errors import Forbidden, Invalid, Unauthorized
from memoryhub.core.models import Actor, Event, Membership
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.factories import PASSWORD, installation, make_agent, make_person, make_team


def refused(header):
    with pytest.raises(Unauthorized) as caught:
        authenticate(header, "r")
    return caught.value


def test_a_key_has_the_form_that_is_documented_and_only_its_hash_is_kept():
    key, digest, prefix = make_key()
    kind, body = key.removeprefix("mh_").split("_")
    assert kind == "agent"
    assert len(body) >= 32 + 6
    assert set(body) <= set(ALPHABET)
    assert key.startswith(prefix)
    assert digest == hashlib.sha256(key.encode()).digest() == digest_of(key)
    agent = make_agent(make_team())
    row = ApiKey.objects.get(id=agent.key_id)
    assert bytes(row.digest) == digest_of(agent.key)
    assert agent.key not in repr(ApiKey.objects.filter(id=row.id).values().get())


@given(st.integers(0, 54), st.sampled_from(ALPHABET + "_-~é\0 "))
def test_a_mistyped_character_is_found_by_the_checksum(position, character):
    key, _, _ = make_key()
    position %= len(key)
    typed = key[:position] + character + key[position + 1 :]
    assert (digest_of(typed) is None) == (typed != key)


@given(st.text(max_size=80))
def test_nonsense_is_no_key(text):
    assert digest_of(text) is None
    with CaptureQueriesContext(connection) as asked:
        refused(text)
        refused(f"Bearer {text}")
    assert len(asked) == 0


def test_a_key_becomes_its_agents_viewer_with_one_query():
    team = make_team()
    agent = make_agent(team, 2, ["finance", "pii"], scopes=["tasks"])
    authenticate(f"Bearer {agent.key}", "r")  # writes last_used_at
    with CaptureQueriesContext(connection) as asked:
        viewer = authenticate(f"Bearer {agent.key}", "request-1")
    assert len(asked) == 1
    assert viewer == authenticate(f"bearer {agent.key}", "request-1")  # the scheme's case does not matter
    assert (viewer.actor, viewer.membership) == (agent.membership.actor_id, agent.membership.id)
    assert (viewer.team, viewer.team_slug, viewer.name) == (team.id, team.slug, agent.name)
    assert (viewer.kind, viewer.role, viewer.clearance) == ("agent", "agent", 2)
    assert (viewer.compartments, viewer.scopes) == (frozenset({"finance", "pii"}), frozenset({"tasks"}))
    assert (str(viewer.credential), viewer.request_id) == (agent.key_id, "request-1")


def test_use_is_noted_at_most_once_a_minute():
    agent = make_agent(make_team())
    authenticate(f"Bearer {agent.key}", "r")
    first = ApiKey.objects.get(id=agent.key_id).last_used_at
    assert Agent.objects.get(pk=agent.membership.id).last_seen_at == first
    authenticate(f"Bearer {agent.key}", "r")
    assert ApiKey.objects.get(id=agent.key_id).last_used_at == first
    ApiKey.objects.filter(id=agent.key_id).update(last_used_at=first - timedelta(minutes=2))
    authenticate(f"Bearer {agent.key}", "r")
    assert ApiKey.objects.get(id=agent.key_id).last_used_at > first


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic {key}", "Bearer {key} x", "Bearer  {key}", "{key}"]
)
def test_anything_but_one_bearer_key_is_refused(header):
    agent = make_agent(make_team())
    error = refused(header and header.format(key=agent.key))
    assert error.headers["WWW-Authenticate"].startswith("Bearer")
    assert error.detail == refused(f"Bearer {make_key()[0]}").detail


def test_a_key_ends_at_once_however_it_ends():
    team = make_team()
    system = system_viewer(team.id)
    revoked, expired, inactive, gone = (make_agent(team) for _ in range(4))
    keys.revoke(system, key=ApiKey.objects.get(id=revoked.key_id))
    ApiKey.objects.filter(id=expired.key_id).update(expires_at=timezone.now())
    agents.change(
        system,
        agent=inactive.agent,
        clearance=1,
        compartments=[],
        is_active=False,
        group="",
        description="",
    )
    Actor.objects.filter(id=gone.membership.actor_id).update(is_active=False)
    details = {refused(f"Bearer {agent.key}").detail for agent in (revoked, expired, inactive, gone)}
    assert details == {refused(f"Bearer {make_key()[0]}").detail}


def test_less_clearance_holds_from_the_next_request_on():
    team = make_team()
    agent = make_agent(team, 2, ["pii"])
    assert authenticate(f"Bearer {agent.key}", "r").clearance == 2
    agents.change(
        system_viewer(team.id),
        agent=agent.agent,
        clearance=0,
        compartments=[],
        is_active=True,
        group="research",
        description="Looks things up",
    )
    viewer = authenticate(f"Bearer {agent.key}", "r")
    assert (viewer.clearance, viewer.compartments) == (0, frozenset())
    assert Agent.objects.get(pk=agent.membership.id).group == "research"


def test_keys_overlap_while_they_are_rotated():
    team = make_team()
    agent = make_agent(team)
    system = system_viewer(team.id)
    _, second = keys.issue(system, member=agent.membership, scopes=["tasks"])
    keys.revoke(system, key=ApiKey.objects.get(id=agent.key_id))
    assert authenticate(f"Bearer {second}", "r").scopes == {"tasks"}
    refused(f"Bearer {agent.key}")


def test_a_rotated_key_has_one_like_it_in_its_place_and_ends_after_the_overlap(owner_sql):
    team = make_team()
    agent = make_agent(team, scopes=["tasks", "import"])
    system, old = system_viewer(team.id), ApiKey.objects.get(id=agent.key_id)
    end = timezone.now() + timedelta(days=90)
    ApiKey.objects.filter(id=old.id).update(expires_at=end, name="the mail robot")
    authenticate(f"Bearer {agent.key}", "r")
    fresh, key = keys.rotate(system, key=old, overlap=timedelta(hours=2))
    assert (fresh.name, fresh.scopes, fresh.expires_at) == ("the mail robot", ["import", "tasks"], end)
    assert (fresh.membership_id, fresh.last_used_at, fresh.replaced_by_id) == (agent.membership.id, None, None)
    assert fresh.prefix == key[:14] != old.prefix
    assert authenticate(f"Bearer {key}", "r").membership == authenticate(f"Bearer {agent.key}", "r").membership
    # By the database's clock, whatever the web process thinks the time is.
    left = "select expires_at - statement_timestamp(), replaced_by_id from api_key where id = %s"
    remaining, replaced_by = owner_sql.execute(left, [old.id]).fetchone()
    assert timedelta(hours=1, minutes=59) < remaining <= timedelta(hours=2)
    assert replaced_by == fresh.id
    ApiKey.objects.filter(id=old.id).update(expires_at=timezone.now())
    refused(f"Bearer {agent.key}")
    assert authenticate(f"Bearer {key}", "r").scopes == {"tasks", "import"}


def test_a_rotation_is_in_the_ledger_and_tells_no_key():
    team = make_team()
    agent = make_agent(team)
    fresh, key = keys.rotate(system_viewer(team.id), key=ApiKey.objects.get(id=agent.key_id))
    with viewer_transaction(system_viewer(team.id)):
        event = Event.objects.filter(team=team).order_by("-clock__seq").first()
    assert (event.type, str(event.row_id)) == ("key.rotate", agent.key_id)
    assert event.data["replaced_by"] == str(fresh.id)
    assert key not in str(event.data)


def test_a_key_that_would_end_sooner_does_so():
    team = make_team()
    agent = make_agent(team)
    soon = timezone.now() + timedelta(hours=1)
    ApiKey.objects.filter(id=agent.key_id).update(expires_at=soon)
    keys.rotate(system_viewer(team.id), key=ApiKey.objects.get(id=agent.key_id), overlap=timedelta(days=30))
    assert ApiKey.objects.get(id=agent.key_id).expires_at == soon


def test_without_an_overlap_the_old_key_ends_at_once():
    team = make_team()
    agent = make_agent(team)
    _, key = keys.rotate(system_viewer(team.id), key=ApiKey.objects.get(id=agent.key_id), overlap=timedelta(0))
    refused(f"Bearer {agent.key}")
    assert authenticate(f"Bearer {key}", "r")


def test_a_key_is_not_rotated_that_should_not_be():
    team, other = make_team(), make_team()
    system = system_viewer(team.id)
    revoked, expired, rotated, foreign, idle, fine = (make_agent(team) for _ in range(6))
    keys.revoke(system, key=ApiKey.objects.get(id=revoked.key_id))
    ApiKey.objects.filter(id=expired.key_id).update(expires_at=timezone.now())
    keys.rotate(system, key=ApiKey.objects.get(id=rotated.key_id))
    Membership.objects.filter(id=idle.membership.id).update(is_active=False)
    count = ApiKey.objects.count()
    for agent in (revoked, expired, rotated, idle):
        with pytest.raises(Invalid):
            keys.rotate(system, key=ApiKey.objects.get(id=agent.key_id))
    with pytest.raises(Invalid):
        keys.rotate(system_viewer(other.id), key=ApiKey.objects.get(id=foreign.key_id))
    for overlap in (timedelta(seconds=-1), timedelta(days=31)):
        with pytest.raises(Invalid):
            keys.rotate(system, key=ApiKey.objects.get(id=fine.key_id), overlap=overlap)
    assert ApiKey.objects.count() == count
    assert ApiKey.objects.get(id=fine.key_id).expires_at is None


def test_revoking_twice_changes_nothing():
    team = make_team()
    agent = make_agent(team)
    system = system_viewer(team.id)
    first = keys.revoke(system, key=ApiKey.objects.get(id=agent.key_id)).revoked_at
    assert keys.revoke(system, key=ApiKey.objects.get(id=agent.key_id)).revoked_at == first


def test_a_key_is_refused_for_who_should_have_none():
    team, other = make_team(), make_team()
    agent, person = make_agent(team), make_person(team)
    with pytest.raises(Invalid):
        keys.issue(system_viewer(other.id), member=agent.membership, scopes=DEFAULT_SCOPES)
    with pytest.raises(Invalid):
        keys.issue(system_viewer(team.id), member=person.membership, scopes=DEFAULT_SCOPES)
    for scopes, expires in (([], None), (["root"], None), (["tasks"], timezone.now() - timedelta(seconds=1))):
        with pytest.raises(Invalid):
            keys.issue(system_viewer(team.id), member=agent.membership, scopes=scopes, expires_at=expires)
    with pytest.raises(Invalid):
        keys.revoke(system_viewer(other.id), key=ApiKey.objects.get(id=agent.key_id))
    assert ApiKey.objects.filter(membership__team__in=[team, other]).count() == 1


def test_an_agent_is_no_person():
    team = make_team()
    agent = make_agent(team)
    actor = agent.membership.actor
    assert not actor.has_usable_password()
    with pytest.raises(Invalid):
        people.set_password(installation(), person=actor, password=PASSWORD)
    with pytest.raises(Invalid):
        people.change(installation(), person=actor, email="", is_active=True, is_staff=True, is_superuser=True)
    for role in ("reader", "support", "lead", "admin"):
        with pytest.raises(Invalid):
            memberships.change(
                system_viewer(team.id),
                member=agent.membership,
                role=role,
                clearance=1,
                compartments=[],
                is_active=True,
            )


def test_a_name_is_taken_once_and_a_refusal_leaves_no_account():
    team = make_team()
    agent = make_agent(team)
    count = Actor.objects.count()
    for name in (agent.name, "", "x" * 101):
        with pytest.raises(Exception, match=r"taken|characters"):
            agents.add(system_viewer(team.id), name=name, clearance=1)
    with pytest.raises(Invalid):
        agents.add(system_viewer(team.id), name="fine", clearance=1, group="x" * 61)
    assert Actor.objects.count() == count


def test_an_agent_cannot_make_agents_or_keys():
    team = make_team()
    agent = make_agent(team)
    with pytest.raises(Forbidden):
        agents.add(agent.viewer, name="child", clearance=1)
    with pytest.raises(Forbidden):
        keys.issue(agent.viewer, member=agent.membership, scopes=DEFAULT_SCOPES)
