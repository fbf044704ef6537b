"""Nobody gives, by any page, what they have not, nor loses what nobody else has; each change is told (ADR 12)."""

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection

from agents.actions import agents
from agents.authentication import authenticate
from agents.models import Agent, ApiKey
from memoryhub.core.actions import memberships
from memoryhub.core.errors import Conflict, Forbidden
from memoryhub.core.models import Compartment, Event, Label, Membership
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import tasks
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.admin_pages import account, address, events, signed_in, system, text
from tests.support.factories import make_agent, make_person, make_team, unique
from tests.support.ledger import events_of


@pytest.fixture
def low(team):
    """An administrator cleared for public."""
    return make_person(team, "admin", 0, is_staff=True)


HIGH = {"clearance": 2, "compartments": "finance"}
ABOVE = [HIGH, {"clearance": 1, "compartments": ""}, {"clearance": 0, "compartments": "finance"}]


@pytest.mark.parametrize("rights", ABOVE)
def test_nobody_makes_an_agent_above_themselves(team, low, rights):
    make_agent(team, 2, ["finance"])
    name, client, before = unique("agent"), signed_in(low), events(team)
    answer = client.post(address("agents_agent", "add"), {"name": name, **rights})
    assert (answer.status_code, "cannot give more than you have" in text(answer)) == (200, True)
    assert events(team) == before
    assert not Membership.objects.filter(team=team, name=name).exists()
    assert client.post(address("agents_agent", "add"), {"name": name, "clearance": 0}).status_code == 302


@pytest.mark.parametrize("rights", ABOVE)
def test_nobody_raises_a_member_above_themselves(team, low, rights):
    agent, person = make_agent(team, 0), make_person(team, "support", 0)
    client, before = signed_in(low), events(team)
    for page, form in (
        (address("agents_agent", "change", agent.membership.id), {"is_active": "on"}),
        (address("core_membership", "change", person.membership.id), {"role": "support", "is_active": "on"}),
    ):
        assert "cannot give more than you have" in text(client.post(page, {**form, **rights}))
    assert events(team) == before
    assert authenticate(f"Bearer {agent.key}", "r").clearance == 0


def test_what_is_raised_ends_within_ones_own_rights_as_a_whole(team):
    """Each of them has a half: neither gives the whole, which neither may read."""
    make_agent(team, 2, ["finance"])
    left = make_person(team, "admin", 1, ["finance"], is_staff=True)
    right = make_person(team, "admin", 2, is_staff=True)
    one, two = make_agent(team, 2), make_agent(team, 1, ["finance"])
    for giver, agent in ((left, one), (right, two)):
        page = address("agents_agent", "change", agent.membership.id)
        assert "cannot give more" in text(signed_in(giver).post(page, {**HIGH, "is_active": "on"}))
    member = make_person(team, "reader", 2)
    page = address("core_membership", "change", member.membership.id)
    form = {"role": "lead", "clearance": 2, "compartments": "", "is_active": "on"}
    assert "cannot give more" in text(signed_in(left).post(page, form))  # a role is given, too
    assert signed_in(right).post(page, form).status_code == 302


def test_nobody_brings_back_who_is_above_them(team, low):
    agent, person = make_agent(team, 2, ["finance"]), make_person(team, "support", 2, ["finance"])
    client = signed_in(low)
    pages = (
        (address("agents_agent", "change", agent.membership.id), dict(HIGH)),
        (address("core_membership", "change", person.membership.id), {"role": "support", **HIGH}),
    )
    for page, form in pages:
        assert client.post(page, form).status_code == 302  # deactivated, which any administrator may do
    assert not Membership.objects.filter(id__in=[agent.membership.id, person.membership.id], is_active=True).exists()
    for page, form in pages:
        assert "cannot give more" in text(client.post(page, {**form, "is_active": "on"}))
    assert not Membership.objects.filter(id__in=[agent.membership.id, person.membership.id], is_active=True).exists()


def test_anybody_above_may_be_lowered_and_only_who_has_the_compartment_reads_of_it(team, low):
    agent = make_agent(team, 2, ["finance"])
    reader = make_person(team, "admin", 2, ["finance"], is_staff=True)
    page = address("agents_agent", "change", agent.membership.id)
    form = {"clearance": 0, "compartments": "", "is_active": "on"}
    assert signed_in(low).post(page, form).status_code == 302
    assert authenticate(f"Bearer {agent.key}", "r").compartments == frozenset()
    assert "finance" not in text(signed_in(low).get(address("core_event")))
    told = text(signed_in(reader).get(address("core_event")))
    assert "clearance: confidential → public" in told
    assert "compartments: finance → none" in told


def test_nobody_has_a_key_of_an_agent_above_themselves_but_may_revoke_it(team, low):
    agent, client = make_agent(team, 2, ["finance"]), signed_in(low)
    form = {"membership": str(agent.membership.id), "name": "", "scopes": ["memory:read"]}
    answer = client.post(address("agents_apikey", "add"), form)
    assert "you cannot have a key of it" in text(answer)
    page = address("agents_apikey", "change", agent.key_id)
    assert "you cannot have a key of it" in text(client.post(page, {"rotate": "on"}))
    assert ApiKey.objects.filter(membership=agent.membership).count() == 1
    assert client.post(page, {"revoke": "on"}).status_code == 302
    assert ApiKey.objects.get(id=agent.key_id).revoked_at is not None


def test_who_was_lowered_meanwhile_gives_only_what_is_left(team):
    """The page's viewer is older than the change: what counts is what the granter has now."""
    make_person(team, "admin", 2, ["finance"], is_staff=True)
    giver, agent = make_person(team, "admin", 2, ["finance"], is_staff=True), make_agent(team, 0)
    stale = giver.viewer
    rights = {"role": "admin", "compartments": [], "is_active": True}
    memberships.change(system_viewer(team.id), member=giver.membership, clearance=0, **rights)
    with pytest.raises(Forbidden):
        memberships.change(
            stale, member=agent.membership, role="agent", clearance=2, compartments=["finance"], is_active=True
        )
    memberships.change(system_viewer(team.id), member=giver.membership, clearance=0, **{**rights, "role": "lead"})
    with pytest.raises(Forbidden, match="no longer"):
        memberships.change(stale, member=agent.membership, role="agent", clearance=0, compartments=[], is_active=False)


def test_who_makes_a_compartment_has_it_and_gives_it(team, chief, browser):
    agent = make_agent(team)
    word, page = unique("legal"), address("agents_agent", "change", agent.membership.id)
    form = {"clearance": 1, "compartments": word, "is_active": "on"}
    assert "cannot give more" in text(browser.post(page, form))
    assert browser.post(address("core_compartment", "add"), {"name": word}).status_code == 302
    assert Membership.objects.get(id=chief.membership.id).compartments == [word]
    made = Compartment.objects.get(team=team, name=word)
    assert (made.maker_id, events(team)[-1]) == (chief.membership.id, ("compartment.add", made.id))
    assert browser.post(page, form).status_code == 302
    assert authenticate(f"Bearer {agent.key}", "r").compartments == {word}
    assert f"compartment: {word}" in text(browser.get(address("core_event")))
    again = make_person(team, "admin", is_staff=True)
    answer = signed_in(again).post(address("core_compartment", "add"), {"name": word})
    assert "already" in text(answer)
    assert Membership.objects.get(id=again.membership.id).compartments == []
    for bad in ("", "Not Good", "x y", "x" * 41, "\0"):
        assert browser.post(address("core_compartment", "add"), {"name": bad}).status_code == 200
    assert Compartment.objects.filter(team=team).count() == 1
    assert browser.get(address("core_compartment")).status_code == 200
    assert browser.get(address("core_compartment", "change", made.id)).status_code == 200
    assert browser.post(address("core_compartment", "change", made.id), {"name": "other"}).status_code == 403


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"is_active": ""}, "last administrator who"),
        ({"role": "lead"}, "last administrator who"),
        ({"clearance": 1}, "cleared for confidential"),
        ({"compartments": ""}, "can give finance"),
    ],
)
def test_the_last_who_can_give_something_does_not_lose_it(team, change, told):
    rich = make_person(team, "admin", 2, ["finance"], is_staff=True)
    other = make_person(team, "admin", 1, is_staff=True)
    page = address("core_membership", "change", rich.membership.id)
    form = {"role": "admin", **HIGH, "is_active": "on", **change}
    form = {name: value for name, value in form.items() if value != ""} | {"compartments": form["compartments"]}
    before = events(team)
    assert told in text(signed_in(other).post(page, form))
    assert events(team) == before
    make_person(team, "admin", 2, ["finance"])  # cannot open the admin pages, so does not count
    assert told in text(signed_in(other).post(page, form))
    make_person(team, "admin", 2, ["finance"], is_staff=True)
    assert signed_in(other).post(page, form).status_code == 302


def test_a_teams_last_administrator_stays_whatever_is_tried(team, chief, installer):
    client = signed_in(installer)
    assert "last administrator of this team" in text(account(client, chief, "is_staff"))
    assert "last administrator of this team" in text(account(client, chief, "is_active"))
    rights = {"clearance": 1, "compartments": []}
    for change in ({"role": "lead", "is_active": True}, {"role": "admin", "is_active": False}):
        with pytest.raises(Conflict) as caught:
            memberships.change(system_viewer(team.id), member=chief.membership, **rights, **change)
        assert caught.value.status == 409
    assert signed_in(chief).get(address("core_membership")).status_code == 200
    make_person(team, "admin", is_staff=True)
    assert account(client, chief, "is_staff").status_code == 302


def test_two_administrators_do_not_take_each_others_rights_away_at_once():
    for _ in range(4):
        team = make_team()
        pair = [make_person(team, "admin", is_staff=True) for _ in range(2)]
        gate, refused = threading.Barrier(2), []

        def demote(by, other, gate=gate, refused=refused):
            viewer, member = by.viewer, Membership.objects.select_related("actor").get(id=other.membership.id)
            gate.wait()
            try:
                memberships.change(viewer, member=member, role="lead", clearance=1, compartments=[], is_active=True)
            except (Conflict, Forbidden) as error:
                refused.append(error.status)
            finally:
                connection.close()

        threads = [threading.Thread(target=demote, args=who) for who in (pair, pair[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert Membership.objects.filter(team=team, role="admin").count() == 1


def test_each_change_of_rights_is_told_with_what_was_before(head, team, head_browser, installer):
    def last(of, kind):
        return events_of(of.id, kind)[-1].data

    agent, person = make_agent(team, 1, ["pii"]), make_person(team, "support")
    page = address("core_membership", "change", person.membership.id)
    form = {"role": "lead", "clearance": 2, "compartments": "finance", "is_active": "on"}
    assert head_browser.post(page, form).status_code == 302
    assert last(team, "membership.change") == {
        "name": person.name,
        "role": "lead",
        "clearance": 2,
        "active": True,
        "compartments": ["finance"],
        "before": {"role": "support", "clearance": 1, "compartments": []},
    }
    listed = text(head_browser.get(address("core_event")))
    rights = "clearance: internal → confidential, compartments: none → finance, active: yes"
    assert f"name: {person.name}, role: support → lead, {rights}" in listed
    form = {"group": "research", "description": "x", "clearance": 1, "compartments": "finance", "is_active": "on"}
    assert head_browser.post(address("agents_agent", "change", agent.membership.id), form).status_code == 302
    assert last(team, "membership.change")["before"] == {"compartments": ["pii"]}
    assert last(team, "agent.change") == {
        "name": agent.name,
        "group": "research",
        "description_changed": True,
        "before": {"group": ""},
    }
    form = {"membership": str(agent.membership.id), "name": "", "scopes": ["tasks"], "days": "7", "rate_limit": "90"}
    assert head_browser.post(address("agents_apikey", "add"), form).status_code == 200
    issued = last(team, "key.issue")
    assert (issued["scopes"], issued["rate_limit"], issued["expires_at"] is not None) == (["tasks"], 90, True)
    page = address("agents_apikey", "change", agent.key_id)
    assert head_browser.post(page, {"rotate": "on", "overlap_hours": "1"}).status_code == 200
    rotated = last(team, "key.rotate")
    assert (rotated["before"], rotated["expires_at"] is not None) == ({"expires_at": None}, True)
    assert head_browser.post(page, {"revoke": "on"}).status_code == 302
    revoked = last(team, "key.revoke")
    assert (revoked["revoked"], revoked["before"]) == (True, {"revoked": False})

    client = signed_in(installer)
    page = address("core_team", "change", team.id)
    form = {"name": team.name, "acknowledge_hours": "12", "feed_days": "30", "tell_withheld": "on"}
    assert client.post(page, form).status_code == 302
    assert last(system(), "team.change")["before"] == {"acknowledge_hours": 24}
    assert account(client, make_person(make_team()), "is_active", "is_superuser").status_code == 302
    assert last(system(), "person.change")["before"] == {"staff": False, "superuser": False}


def test_a_compartment_in_an_event_is_told_to_its_holders_only(team, head, head_browser):
    """By the feed of an agent, which reads the ledger's data."""
    agent = make_agent(team)
    page = address("core_membership", "change", make_person(team).membership.id)
    form = {"role": "support", "clearance": 1, "compartments": "finance, pii", "is_active": "on"}
    assert head_browser.post(page, form).status_code == 302
    for words, seen in (([], False), (["finance"], False), (["finance", "pii"], True)):
        reader = make_agent(team, 2, words) if words else agent
        with viewer_transaction(reader.viewer, read_only=True):
            found = [str(data) for data in Event.objects.filter(team=team).values_list("data", flat=True)]
        assert any("pii" in data for data in found) == seen


def test_what_is_told_of_rights_uses_up_nobodys_labels(team, settings):
    """Each set of compartments that an event names is a label, and a member may make few."""
    settings.LABELS_PER_MEMBER = 0
    make_agent(team)  # by the system, which makes the label without compartments
    words = ["finance", "legal", "pii"]
    giver, before = make_person(team, "admin", 1, words).viewer, Label.objects.filter(team=team).count()
    for left_out in words:
        agents.add(giver, name=unique("agent"), clearance=1, compartments=set(words) - {left_out})
    assert Label.objects.filter(team=team).count() == before + 3


def test_a_key_reads_no_more_than_its_giver(team, low):
    """The case that was seen: an agent for confidential and finance made by an administrator cleared for public."""
    secret = make_agent(team, 2, ["finance"])
    tasks.create(secret.viewer, item=NewTask(key="hidden-task", title="x", sensitivity=2, compartments=["finance"]))
    client, name = signed_in(low), unique("spy")
    client.post(address("agents_agent", "add"), {"name": name, **HIGH})
    client.post(address("agents_agent", "add"), {"name": name, "clearance": 0})
    spy = Agent.objects.get(membership__name=name)
    client.post(address("agents_agent", "change", spy.pk), {**HIGH, "is_active": "on"})
    form = {"membership": str(spy.pk), "name": "", "scopes": ["tasks", "memory:read"]}
    key = client.post(address("agents_apikey", "add"), form).context["key"]
    answer = client.get("/api/v1/tasks", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    assert "hidden-task" not in text(answer)


def test_when_an_agent_above_oneself_was_there_is_not_told(team, browser, head_browser):
    agent, at = make_agent(team, clearance=2, name="fraud"), datetime(2021, 3, 4, 5, 6, tzinfo=UTC)
    Agent.objects.filter(pk=agent.membership.id).update(last_seen_at=at)
    ApiKey.objects.filter(id=agent.key_id).update(last_used_at=at)
    rows = {"agents_agent": agent.membership.id, "agents_apikey": agent.key_id}
    for page in [*map(address, rows), *(address(model, "change", row) for model, row in rows.items())]:
        assert "March 4, 2021" in text(head_browser.get(page))
        low = text(browser.get(page))
        assert "fraud" in low
        assert "March 4" not in low


def test_nor_by_the_order_of_a_list(team, browser):
    """Which a column that is shown gives in Django's admin, whatever is in it."""
    first, second, third = (make_agent(team, clearance) for clearance in (1, 2, 1))
    for agent, day in ((first, 1), (third, 2), (second, 3)):
        ApiKey.objects.filter(id=agent.key_id).update(last_used_at=datetime(2021, 3, day, tzinfo=UTC))

    def order(**query):
        return [row.id for row in browser.get(address("agents_apikey"), query).context["cl"].result_list]

    usual = order()
    assert len(usual) == 3
    for column in range(1, 10):
        assert order(o=column) == order(o=f"-{column}") == usual
