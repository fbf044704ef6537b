import json
import os
import stat
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from agents.authentication import authenticate
from agents.models import ApiKey, Scope
from memoryhub.core.access.delegation import administers_installation
from memoryhub.core.errors import Unauthorized
from memoryhub.core.models import SYSTEM_TEAM, Actor, Event, Membership, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.commands import run
from tests.support.factories import make_agent, make_person, make_team, unique
from tests.support.ledger import events_of
from tests.support.servers import ROOT


def test_add_team_makes_a_team_once():
    slug = unique("shop")
    assert run("add_team", slug, "A shop") == ("", f"Added the team {slug}.\n")
    assert Team.objects.get(slug=slug).name == "A shop"
    with pytest.raises(CommandError, match="exists already"):
        run("add_team", slug, "A shop")


@pytest.mark.parametrize(("slug", "name"), [("no spaces", "x"), ("x" * 61, "x"), ("ok", ""), ("ok", "x" * 121)])
def test_add_team_refuses_what_is_no_name(slug, name):
    with pytest.raises(CommandError):
        run("add_team", slug, name)


def test_add_person_prints_a_password_that_works_and_nothing_else_on_standard_output():
    team, username = make_team(), unique("ann")
    out, err = run("add_person", username, team=team.slug, role="lead", clearance=2, compartments=["finance"])
    actor = Actor.objects.get(username=username)
    assert actor.check_password(out.strip())
    assert out.strip() not in err
    member = Membership.objects.get(actor=actor)
    assert (member.team, member.role, member.clearance, member.compartments) == (team, "lead", 2, ["finance"])
    assert (actor.is_staff, administers_installation(actor.id)) == (False, False)


def test_add_person_takes_the_password_from_a_file(tmp_path):
    team, username = make_team(), unique("ben")
    file = tmp_path / "password"
    file.write_text("a long enough passphrase\n")
    out, _ = run("add_person", username, team=team.slug, password_file=str(file))
    assert out == ""
    assert Actor.objects.get(username=username).check_password("a long enough passphrase")


def test_add_person_refuses_a_weak_password_and_leaves_nothing(tmp_path):
    team, username = make_team(), unique("cem")
    file = tmp_path / "password"
    file.write_text("short\n")
    with pytest.raises(CommandError, match="too short"):
        run("add_person", username, team=team.slug, password_file=str(file))
    assert not Actor.objects.filter(username=username).exists()


def test_add_person_adds_somebody_who_has_an_account_to_one_more_team():
    first, second = make_team(), make_team()
    person = make_person(first)
    out, _ = run("add_person", person.username, team=second.slug)
    assert out == ""
    assert set(person.actor.memberships.values_list("team__slug", flat=True)) == {first.slug, second.slug}
    with pytest.raises(CommandError, match="taken"):
        run("add_person", person.username, team=second.slug)


def test_a_superuser_is_an_administrator_of_the_installation_too():
    team, username = make_team(), unique("dee")
    run("add_person", username, team=team.slug, role="admin", superuser=True)
    actor = Actor.objects.get(username=username)
    assert (actor.is_staff, administers_installation(actor.id)) == (True, True)
    roles = dict(actor.memberships.values_list("team__slug", "role"))
    assert roles == {team.slug: "admin", SYSTEM_TEAM: "admin"}


def newest(team, kind):
    """What the newest event of this type says, and who did it."""
    event = events_of(team.id, kind)[-1]
    return event.data, event.actor.name


def test_a_superuser_of_the_installations_own_team_is_added_at_once():
    username = unique("ida")
    run("add_person", username, team=SYSTEM_TEAM, superuser=True)
    actor = Actor.objects.get(username=username)
    assert (actor.is_staff, administers_installation(actor.id)) == (True, True)


def test_rights_above_all_administrators_are_given_by_command_and_recorded():
    team = make_team()
    person = make_person(team, "admin", 0, is_staff=True)
    word = unique("legal")
    run("change_member", person.name, "--team", team.slug, "--clearance", "confidential", "--compartments", word)
    member = Membership.objects.get(id=person.membership.id)
    assert (member.role, member.clearance, member.compartments, member.is_active) == ("admin", 2, [word], True)
    data, by = newest(team, "membership.change")
    assert (data["before"], data["compartments"], by) == ({"clearance": 0, "compartments": []}, [word], "memoryhub")
    assert newest(team, "compartment.add")[0]["compartment"] == word
    with pytest.raises(CommandError, match="last administrator of this team"):
        run("change_member", person.name, "--team", team.slug, "--active", "no")
    with pytest.raises(CommandError, match="There is no member"):
        run("change_member", "nobody", "--team", team.slug, "--active", "no")
    with pytest.raises(CommandError, match="yes or no"):
        run("change_member", person.name, "--team", team.slug, "--active", "perhaps")


def test_a_compartment_is_made_by_command_for_who_gives_it():
    team, word = make_team(), unique("legal")
    person = make_person(team, "admin", is_staff=True)
    run("add_compartment", word, "--team", team.slug, "--to", person.name)
    assert Membership.objects.get(id=person.membership.id).compartments == [word]
    with pytest.raises(CommandError, match="already"):
        run("add_compartment", word, "--team", team.slug, "--to", person.name)
    with pytest.raises(CommandError, match="There is no member"):
        run("add_compartment", unique("other"), "--team", team.slug, "--to", "nobody")


def test_the_way_back_to_the_administration_is_a_command():
    person, system = make_person(make_team()), Team.objects.get(slug=SYSTEM_TEAM)
    run("change_person", person.username, "--superuser", "yes")
    assert administers_installation(person.actor.id)
    assert newest(system, "person.change")[0]["before"] == {"staff": False, "superuser": False}
    run("change_person", person.username, "--active", "no", "--superuser", "no")
    actor = Actor.objects.get(id=person.actor.id)
    assert (actor.is_active, administers_installation(actor.id)) == (False, False)
    run("change_person", person.username, "--active", "yes")
    assert Actor.objects.get(id=person.actor.id).is_active
    with pytest.raises(CommandError, match="Nobody has"):
        run("change_person", "nobody-at-all", "--active", "yes")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--clearance", "secret"],
        ["--compartments", "Finance!"],
        ["--role", "agent"],
        ["--team", "no-such-team"],
    ],
)
def test_add_person_refuses_what_it_does_not_know(arguments):
    username = unique("eve")
    with pytest.raises(CommandError):
        call_command("add_person", username, *(arguments if "--team" in arguments else ["--team", "x", *arguments]))
    assert not Actor.objects.filter(username=username).exists()


def test_an_agent_gets_a_key_that_works_until_it_is_revoked():
    team, name = make_team(), unique("research")
    run("add_agent", name, "--team", team.slug, "--clearance", "confidential", "--compartments", "pii, finance")
    out, err = run(
        "issue_key", name, "--team", team.slug, "--scopes", "tasks,memory:read", "--days", "30", "--rate-limit", "90"
    )
    key = out.strip()
    assert key not in err
    viewer = authenticate(f"Bearer {key}", "r")
    assert (viewer.name, viewer.team, viewer.clearance) == (name, team.id, 2)
    assert (viewer.compartments, viewer.scopes) == ({"finance", "pii"}, {"tasks", "memory:read"})
    assert ApiKey.objects.get(id=viewer.credential).expires_at is not None
    assert viewer.rate_limit == 90
    run("revoke_key", key[:14], "--team", team.slug)
    with pytest.raises(Unauthorized):
        authenticate(f"Bearer {key}", "r")


def test_a_key_is_revoked_by_its_id_or_itself_and_only_in_its_own_team():
    team, other = make_team(), make_team()
    one, two = make_agent(team), make_agent(team)
    for text in (one.key, one.key_id, one.key[:14], "mh_agent_nonsense", "x"):
        with pytest.raises(CommandError):
            run("revoke_key", text, team=other.slug)
    assert authenticate(f"Bearer {one.key}", "r")
    run("revoke_key", one.key, team=team.slug)
    run("revoke_key", two.key_id, team=team.slug)
    assert ApiKey.objects.filter(membership__team=team, revoked_at=None).count() == 0


def test_rotate_key_prints_the_new_one_alone_and_the_old_one_works_on():
    team = make_team()
    agent = make_agent(team)
    out, err = run("rotate_key", agent.key[:14], "--team", team.slug)
    assert agent.name in err
    assert out.strip() not in err
    assert authenticate(f"Bearer {out.strip()}", "r").membership == agent.membership.id
    assert authenticate(f"Bearer {agent.key}", "r").membership == agent.membership.id
    with pytest.raises(CommandError, match="rotated already"):
        run("rotate_key", agent.key_id, team=team.slug)
    second, _ = run("rotate_key", out.strip(), "--team", team.slug, "--overlap-hours", "0")
    assert authenticate(f"Bearer {second.strip()}", "r")
    with pytest.raises(Unauthorized):
        authenticate(f"Bearer {out.strip()}", "r")


@pytest.mark.parametrize("hours", ["-1", "721", "x", "1.5"])
def test_rotate_key_refuses_what_is_no_overlap(hours):
    team = make_team()
    agent = make_agent(team)
    with pytest.raises(CommandError, match="hours"):
        run("rotate_key", agent.key_id, "--team", team.slug, "--overlap-hours", hours)


@pytest.mark.parametrize(
    "arguments", [["--days", "0"], ["--days", "x"], ["--scopes", "everything"], ["--scopes", ""], ["--rate-limit", "0"]]
)
def test_issue_key_refuses_what_makes_no_sense(arguments):
    team = make_team()
    agent = make_agent(team)
    with pytest.raises(CommandError):
        run("issue_key", agent.name, "--team", team.slug, *arguments)
    with pytest.raises(CommandError, match=f"There is no agent.*manage.py add_agent nobody --team {team.slug}"):
        run("issue_key", "nobody", "--team", team.slug)
    with pytest.raises(CommandError, match=r"There is no team.*manage.py add_team nowhere"):
        run("issue_key", "nobody", "--team", "nowhere")
    assert ApiKey.objects.filter(membership__team=team).count() == 1


def test_a_password_is_never_an_argument():
    done = subprocess.run(
        [sys.executable, "manage.py", "add_person", "x", "--team", "x", "--password", "secret"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "unrecognized arguments" in done.stderr


def first_run(data, demo="1"):
    subprocess.run(
        [sys.executable, "manage.py", "first_run", "--data", str(data)],
        cwd=ROOT,
        env={**os.environ, "DEMO": demo},
        check=True,
        capture_output=True,
    )


def state():
    """All that first_run makes, and how many events the teams' ledgers have."""
    tables = [list(model.objects.order_by("id").values()) for model in (Actor, Team, Membership, ApiKey)]
    counts = []
    for team in Team.objects.filter(slug__in=[SYSTEM_TEAM, "demo"]):
        with viewer_transaction(system_viewer(team.id)):
            counts.append(Event.objects.filter(team=team).count())
    return tables, counts


def test_first_run_makes_people_and_agents_once_and_mends_what_is_lost(tmp_path):
    # The only test that makes the demo team; with xdist each worker has a database of its own.
    data = tmp_path / "data"
    first_run(data)
    logins = dict(line.split()[:2] for line in (data / "logins.txt").read_text().splitlines())
    keys = json.loads((data / "demo-keys.json").read_text())
    for file in ("logins.txt", "demo-keys.json"):
        assert stat.S_IMODE((data / file).stat().st_mode) == 0o600
    assert {"sam", "lee"} <= set(logins)
    for username, password in logins.items():
        assert Actor.objects.get(username=username).check_password(password)
    assert len(set(logins.values())) == len(logins)
    rights = {
        name: (authenticate(f"Bearer {key}", "r").clearance, authenticate(f"Bearer {key}", "r").compartments)
        for name, key in keys.items()
    }
    plain = (1, frozenset())
    assert rights == {
        "demo-intake": plain,
        "demo-research": plain,
        "demo-returns": plain,
        "demo-fraud": (2, {"finance"}),
    }
    assert Membership.objects.get(name="lee", team__slug="demo").compartments == ["finance", "pii"]
    assert Scope.IMPORT not in authenticate(f"Bearer {keys['demo-intake']}", "r").scopes

    before, files = state(), [(data / file).read_bytes() for file in ("logins.txt", "demo-keys.json")]
    first_run(data)
    tables, counts = state()
    for row in (row for table in (*before[0], *tables) for row in table):
        row.pop("last_used_at", None)
    assert (tables, counts) == before
    assert [(data / file).read_bytes() for file in ("logins.txt", "demo-keys.json")] == files

    (data / "demo-keys.json").unlink()
    first_run(data)
    again = json.loads((data / "demo-keys.json").read_text())
    assert set(again) == set(keys)
    assert authenticate(f"Bearer {again['demo-fraud']}", "r").name == "demo-fraud"
    assert [(data / "logins.txt").read_bytes()] == files[:1]

    count = Team.objects.count()
    first_run(tmp_path / "other", demo="0")
    assert Team.objects.count() == count
