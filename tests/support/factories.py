"""Teams, people and agents for tests: made by the actions, with names of their own, since nothing is rolled back."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from django.contrib.auth.hashers import make_password

from agents.actions import agents, keys
from agents.models import DEFAULT_SCOPES, Agent
from memoryhub.core.actions import memberships, people, teams
from memoryhub.core.ids import new_id
from memoryhub.core.models import SYSTEM_TEAM, Actor, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of

PASSWORD = "a test's long passphrase"


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{new_id().hex[-12:]}"


@cache
def installation() -> Viewer:
    """The system's viewer in the installation's own team."""
    return system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)


def make_team(prefix: str = "team") -> Team:
    """A team of its own for a test."""
    slug = unique(prefix)
    return teams.add(installation(), slug=slug, name=f"Team {slug}")


@cache
def _hash() -> str:
    """Of PASSWORD: made once, since hashing is slow on purpose."""
    return make_password(PASSWORD)


@dataclass(frozen=True)
class Person:
    """A person of a team, who can sign in with the user name and PASSWORD."""

    actor: Actor
    membership: Membership

    @property
    def username(self) -> str:
        return self.actor.username

    @property
    def name(self) -> str:
        return self.membership.name

    @property
    def viewer(self) -> Viewer:
        return viewer_of(Membership.objects.select_related("actor", "team").get(id=self.membership.id))


def make_person(
    team: Team,
    role: str = Role.SUPPORT,
    clearance: int = Sensitivity.INTERNAL,
    compartments: Iterable[str] = (),
    *,
    name: str | None = None,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> Person:
    """A person with an account and a membership in the team."""
    name = name or unique(role)
    # In the installation's own team the membership itself makes an administrator of the installation.
    superuser = is_superuser and team.slug != SYSTEM_TEAM
    actor = people.add(installation(), username=unique(name), password=None, is_staff=is_staff, is_superuser=superuser)
    actor.password = _hash()
    actor.save(update_fields=["password"])
    return Person(actor, join(team, actor, role, clearance, compartments, name=name))


def join(
    team: Team,
    actor: Actor,
    role: str = Role.SUPPORT,
    clearance: int = Sensitivity.INTERNAL,
    compartments: Iterable[str] = (),
    *,
    name: str | None = None,
) -> Membership:
    """Make somebody who exists a member of one more team."""
    return memberships.add(
        system_viewer(team.id),
        actor=actor,
        name=name or unique(role),
        role=role,
        clearance=clearance,
        compartments=compartments,
    )


@dataclass(frozen=True)
class TestAgent:
    """An agent of a team with a key; `viewer` is what its key makes at the door."""

    __test__ = False

    agent: Agent
    key: str
    key_id: str
    scopes: frozenset[str]

    @property
    def membership(self) -> Membership:
        return self.agent.membership

    @property
    def name(self) -> str:
        return self.agent.membership.name

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def viewer(self) -> Viewer:
        member = Membership.objects.select_related("actor", "team").get(id=self.membership.id)
        return viewer_of(member, scopes=self.scopes, credential=self.agent.membership.api_keys.get(id=self.key_id).id)


def make_agent(
    team: Team,
    clearance: int = Sensitivity.INTERNAL,
    compartments: Iterable[str] = (),
    *,
    name: str | None = None,
    group: str = "",
    scopes: Iterable[str] = DEFAULT_SCOPES,
    rate_limit: int | None = None,
) -> TestAgent:
    """An agent of the team with a key of these scopes."""
    viewer = system_viewer(team.id)
    agent = agents.add(
        viewer, name=name or unique("agent"), clearance=clearance, compartments=compartments, group=group
    )
    row, key = keys.issue(viewer, member=agent.membership, scopes=scopes, rate_limit=rate_limit)
    return TestAgent(agent, key, str(row.id), frozenset(scopes))
