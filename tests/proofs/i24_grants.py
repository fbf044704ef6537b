"""I24: nobody gives what they have not, by any door.

Every way to give a right (admin forms, and the actions under them) is tried by every kind of granter for every
clearance and set of compartments. Then somebody reads with what was given: an agent's key over the API, a person's
session by the desk. What is read since, and the granter could not read, is above the granter. The control takes the
checks away. The commands are left out: they act as the installation itself.
"""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any
from unittest import mock

from django.test import Client

from agents.actions import agents, keys
from agents.models import Agent, ApiKey
from escalations.actions.escalate import escalate
from memoryhub.core.actions import memberships, people
from memoryhub.core.errors import HubError
from memoryhub.core.models import SYSTEM_TEAM, Actor, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of
from memoryhub.memory.actions import tasks
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.admin_pages import address, signed_in
from tests.support.clients import new_client
from tests.support.factories import Person, TestAgent, join, make_agent, make_person, make_team, unique

WORDS = ("finance", "pii")
SETS = [list(words) for size in range(3) for words in combinations(WORDS, size)]
RIGHTS = [(level, words) for level in Sensitivity.values for words in SETS]
SCOPES = ["memory:read", "tasks"]
NEW_PASSWORD = "a new and long passphrase"
Read = Callable[[], set[str]]


@dataclass
class Granter:
    """Who gives, and in which team they do it: their own, or the installation's."""

    name: str
    person: Person
    team: Team

    @property
    def viewer(self) -> Viewer:
        member = Membership.objects.select_related("actor", "team").get(team=self.team, actor=self.person.actor)
        return viewer_of(member)

    @property
    def client(self) -> Client:
        return signed_in(self.person, self.team)


@dataclass
class World:
    """A team with an escalated task under each label, and everybody who may try to give something in it."""

    team: Team
    system: Viewer
    labels: dict[str, tuple[int, frozenset[str]]] = field(default_factory=dict)
    granters: list[Granter] = field(default_factory=list)


@dataclass
class Result:
    """`given`: tries after which more was read than before; `above`: those with rows that the granter cannot read."""

    tries: int = 0
    given: int = 0
    refused: int = 0
    above: list[str] = field(default_factory=list)


def make_world() -> World:
    """The team, its rows and its granters."""
    team, installation = make_team("i24"), Team.objects.get(slug=SYSTEM_TEAM)
    world = World(team, system_viewer(team.id))
    for level in Sensitivity.values:
        writer = make_agent(team, 2, WORDS).viewer
        for words in SETS:
            key = unique("row")
            task, _ = tasks.create(writer, item=NewTask(key=key, title="x", sensitivity=level, compartments=words))
            escalate(writer, task=task, reason_code="other", reason="x", question="x")
            world.labels[key] = (level, frozenset(words))
    for level, words in RIGHTS:
        person = make_person(team, Role.ADMIN, level, words, is_staff=True)
        world.granters.append(Granter(f"admin {level} {words}", person, team))
    for role in (Role.READER, Role.SUPPORT, Role.LEAD):
        world.granters.append(Granter(role, make_person(team, role, 2, WORDS, is_staff=True), team))
    outside = make_person(installation, Role.ADMIN, 2, is_staff=True)
    world.granters.append(Granter("installer", outside, installation))
    for level, words in ((0, []), (1, ["finance"]), (2, [])):
        inside = make_person(team, Role.ADMIN, level, words, is_staff=True)
        join(installation, inside.actor, Role.ADMIN)
        world.granters.append(Granter(f"installer, admin {level} {words}", inside, team))
        world.granters.append(Granter(f"installer outside, admin {level} {words}", inside, installation))
    return world


def read_by_key(found: list[str]) -> Read:
    """What an agent's key reads, once there is one in the list."""

    def read() -> set[str]:
        key = found[-1] if found else ""
        answer = new_client().get("/api/v1/tasks", {"limit": 100}, headers={"Authorization": f"Bearer {key}"})
        return {row["key"] for row in answer.json()["results"]} if answer.status_code == 200 else set()

    return read


def read_by_session(world: World, actor: Actor) -> Read:
    """What a person's session shows of the team; nothing for an account that cannot sign in."""

    def read() -> set[str]:
        if not Membership.objects.filter(team=world.team, actor=actor).exists():
            return set()
        page = signed_in(Person(Actor.objects.get(id=actor.id), None), world.team).get("/")  # type: ignore[arg-type]
        return set(re.findall(r"row-[0-9a-f]{12}", page.content.decode())) if page.status_code == 200 else set()

    return read


# A way to give: prepared by the system; then read before, given, and read again. Each returns how to give and to read.
Way = Callable[[World, Granter, int, list[str]], tuple[Callable[[], object], Read]]


def _form(granter: Granter, page: str, form: dict[str, Any]) -> Any:
    return granter.client.post(page, form)


def _rights(level: int, words: list[str]) -> dict[str, Any]:
    return {"clearance": level, "compartments": ",".join(words), "is_active": "on"}


def new_agent(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """An agent is made by form, and a key for it."""
    name, found = unique("new"), list[str]()

    def give() -> None:
        _form(granter, address("agents_agent", "add"), {"name": name, **_rights(level, words)})
        made = Agent.objects.filter(membership__team=world.team, membership__name=name).first()
        if made is not None:
            found.append(_key_by_form(granter, made))

    return give, read_by_key(found)


def _key_by_form(granter: Granter, agent: Agent) -> str:
    form = {"membership": str(agent.pk), "name": "", "scopes": SCOPES}
    return _shown(_form(granter, address("agents_apikey", "add"), form))


def _shown(answer: Any) -> str:
    return str((answer.context or {}).get("key") or "")


def raised_agent(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """An agent whose key one has is raised by form."""
    agent = make_agent(world.team, 0)
    page = address("agents_agent", "change", agent.membership.id)
    return (lambda: _form(granter, page, _rights(level, words))), read_by_key([agent.key])


def raised_agent_by_action(
    world: World, granter: Granter, level: int, words: list[str]
) -> tuple[Callable[[], object], Read]:
    """The same by the action itself."""
    agent = make_agent(world.team, 0)
    rights = {"clearance": level, "compartments": words, "is_active": True, "group": "", "description": ""}
    return (lambda: agents.change(granter.viewer, agent=agent.agent, **rights)), read_by_key([agent.key])


def _set(world: World, member: Membership, **change: Any) -> None:
    rights = {"role": member.role, "clearance": member.clearance, "compartments": member.compartments}
    memberships.change(world.system, member=member, **{**rights, "is_active": True, **change})


def awakened_agent(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """An agent that was deactivated is made active by form."""
    agent = make_agent(world.team, level, words)
    _set(world, agent.membership, is_active=False)
    page = address("agents_agent", "change", agent.membership.id)
    return (lambda: _form(granter, page, _rights(level, words))), read_by_key([agent.key])


def _of_agent(
    world: World, level: int, words: list[str], give: Callable[[TestAgent], str]
) -> tuple[Callable[[], object], Read]:
    agent, found = make_agent(world.team, level, words), list[str]()
    return (lambda: found.append(give(agent))), read_by_key(found)


def new_key(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """A key of an agent is issued by form."""
    return _of_agent(world, level, words, lambda agent: _key_by_form(granter, agent.agent))


def new_key_by_action(
    world: World, granter: Granter, level: int, words: list[str]
) -> tuple[Callable[[], object], Read]:
    """The same by the action itself."""
    return _of_agent(
        world, level, words, lambda agent: keys.issue(granter.viewer, member=agent.membership, scopes=SCOPES)[1]
    )


def rotated_key(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """A key of an agent is rotated by form."""
    return _of_agent(
        world,
        level,
        words,
        lambda agent: _shown(_form(granter, address("agents_apikey", "change", agent.key_id), {"rotate": "on"})),
    )


def rotated_key_by_action(
    world: World, granter: Granter, level: int, words: list[str]
) -> tuple[Callable[[], object], Read]:
    """The same by the action itself."""
    return _of_agent(
        world, level, words, lambda agent: keys.rotate(granter.viewer, key=ApiKey.objects.get(id=agent.key_id))[1]
    )


def raised_person(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """A person is raised by form."""
    person = make_person(world.team, Role.SUPPORT, 0)
    page = address("core_membership", "change", person.membership.id)
    form = {"role": "lead", **_rights(level, words)}
    return (lambda: _form(granter, page, form)), read_by_session(world, person.actor)


def awakened_person(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """A person whose membership was deactivated is made active by the action itself."""
    person = make_person(world.team, Role.SUPPORT, level, words)
    _set(world, person.membership, is_active=False)
    rights = {"role": Role.SUPPORT, "clearance": level, "compartments": words, "is_active": True}
    give = lambda: memberships.change(granter.viewer, member=person.membership, **rights)  # noqa: E731
    return give, read_by_session(world, person.actor)


def added_person(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """Somebody who has an account is added to the team by form."""
    person = make_person(make_team("i24-other"), Role.SUPPORT)
    form = {"username": person.username, "name": unique("x"), "role": "support", **_rights(level, words)}
    return (
        (lambda: _form(granter, address("core_membership", "add"), form)),
        read_by_session(world, person.actor),
    )


def listed_person(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """Somebody is put on the team's list by their account's page, and made active by the granter where they can."""
    person = make_person(make_team("i24-other"), Role.SUPPORT)

    def give() -> None:
        page = address("core_actor", "change", person.actor.id)
        _form(granter, page, {"email": "", "is_active": "on", "add_to_team": world.team.slug})
        member = Membership.objects.filter(team=world.team, actor=person.actor).first()
        if member is not None:
            form = {"role": "support", **_rights(level, words)}
            _form(granter, address("core_membership", "change", member.id), form)

    return give, read_by_session(world, person.actor)


def new_password(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """A person's password is set by the page of their account, and one signs in with it."""
    person = make_person(world.team, Role.SUPPORT, level, words)
    page = address("core_actor", "change", person.actor.id)
    form = {"email": "", "is_active": "on", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}

    def read() -> set[str]:
        opened = Actor.objects.get(id=person.actor.id).check_password(NEW_PASSWORD)
        return read_by_session(world, person.actor)() if opened else set()

    return (lambda: _form(granter, page, form)), read


def awakened_account(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """An account that was deactivated is made active by its page."""
    person = make_person(world.team, Role.SUPPORT, level, words)
    system = system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
    people.change(system, person=person.actor, email="", is_active=False, is_staff=False, is_superuser=False)
    page = address("core_actor", "change", person.actor.id)
    return (lambda: _form(granter, page, {"email": "", "is_active": "on"})), read_by_session(world, person.actor)


def own_rights(world: World, granter: Granter, level: int, words: list[str]) -> tuple[Callable[[], object], Read]:
    """One's own rights are raised by form, and a compartment that there is made again."""
    member = granter.person.membership

    def give() -> None:
        form = {"role": "admin", **_rights(level, words)}
        _form(granter, address("core_membership", "change", member.id), form)
        for word in words:
            _form(granter, address("core_compartment", "add"), {"name": word})

    return give, read_by_session(world, granter.person.actor)


WAYS: list[Way] = [
    *(new_agent, raised_agent, raised_agent_by_action, awakened_agent, new_key, new_key_by_action, rotated_key),
    *(rotated_key_by_action, raised_person, awakened_person, added_person, listed_person, new_password),
    *(awakened_account, own_rights),
]


def run(world: World, *, tries: int, seed: int = 1) -> Result:
    """Try `tries` of all combinations of granter, way and rights, drawn by the seed."""
    chosen = random.Random(seed).sample(list(product(world.granters, WAYS, RIGHTS)), tries)
    result = Result()
    for granter, way, (level, words) in chosen:
        own = read_by_session(world, granter.person.actor)()
        give, read = way(world, granter, level, words)
        before = read()
        try:
            give()
        except HubError:
            result.refused += 1
        gained = read() - before
        result.tries += 1
        result.given += bool(gained)
        if gained - own:
            rows = sorted({world.labels[key] for key in gained - own}, key=str)
            result.above.append(f"{granter.name} {way.__name__} {level} {words}: {rows}")
    return result


@contextmanager
def unchecked() -> Iterator[None]:
    """The product without its checks of what may be given."""
    nothing = mock.Mock(return_value=None)
    with (
        mock.patch.object(memberships, "require_bounds", nothing),
        mock.patch.object(people, "require_over", nothing),
        mock.patch.object(keys, "_require_key_for", nothing),
        mock.patch.object(memberships, "administers_installation", return_value=True),
        mock.patch("memoryhub.core.admin.administers_installation", return_value=True),
    ):
        yield
