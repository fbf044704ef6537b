"""Every action for every role and scope, from the registry itself: who may not changes nothing and leaves no event."""

import importlib
import inspect
import pkgutil
from functools import cache

import pytest

import agents.actions
import escalations.actions
import memoryhub.core.actions
import memoryhub.memory.actions
from agents.models import Scope
from memoryhub.core.access import permissions
from memoryhub.core.errors import Forbidden
from memoryhub.core.models import Event, Role, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.factories import make_agent, make_person, make_team

PEOPLE = [Role.READER, Role.SUPPORT, Role.LEAD, Role.ADMIN]


def find_actions():
    """verb -> the function that carries it, from all modules of actions."""
    found = {}
    for package in (agents.actions, escalations.actions, memoryhub.core.actions, memoryhub.memory.actions):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for function in vars(importlib.import_module(module.name)).values():
                inner = getattr(function, "__wrapped__", None)
                if inner is not None and inspect.isfunction(function) and function.__module__ == module.name:
                    found[verb_of(function)] = function
    return found


def verb_of(function):
    [verb] = [
        cell.cell_contents for cell in function.__closure__ if isinstance(cell.cell_contents, permissions.Permission)
    ]
    return verb.name


ACTIONS = find_actions()


@cache
def stage():
    """A team with a person of every role, and an agent with every scope."""
    team = make_team()
    people = {role: make_person(team, role, 2).viewer for role in PEOPLE}
    return team, people, make_agent(team, 2, scopes=Scope.values)


def count():
    """All events, in every team."""
    total = 0
    for team in Team.objects.filter(slug__in=["system", stage()[0].slug]):
        with viewer_transaction(system_viewer(team.id), read_only=True):
            total += Event.objects.filter(team=team).count()
    return total


def nothing(function):
    """Arguments for every parameter that would do nothing good if the action began."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: None for p in parameters if p.default is inspect.Parameter.empty}


def refused(function, viewer):
    before = count()
    with pytest.raises(Forbidden):
        function(viewer, **nothing(function))
    assert count() == before


def test_every_verb_has_its_action():
    assert set(ACTIONS) == set(permissions.VERBS)
    assert len(ACTIONS) > 25
    assert all(verb.roles <= {*PEOPLE, Role.AGENT} for verb in permissions.VERBS.values())
    # The system's alone: background work, commands, and the page that has asked for one's present password.
    background, of_keys = {"draft.prune", "feed.prune"}, {"team.add_key", "team.erase_keys", "team.rewrap_keys"}
    systems = {*background, *of_keys, "ledger.begin_life", "person.change_own_password"}
    assert {name for name, verb in permissions.VERBS.items() if not verb.roles} == systems
    assert all(verb.scope is None or verb.scope in Scope.values for verb in permissions.VERBS.values())


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_an_action_takes_its_viewer_first_and_the_rest_by_name(name):
    first, *rest = inspect.signature(ACTIONS[name]).parameters.values()
    assert first.name == "viewer"
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in rest)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_whoever_lacks_the_role_is_refused_and_nothing_happens(name):
    _, people, agent = stage()
    viewers = {**people, Role.AGENT: agent.viewer}
    for role, viewer in viewers.items():
        if role in permissions.VERBS[name].roles:
            permissions.VERBS[name].permit(viewer)
        else:
            refused(ACTIONS[name], viewer)


@pytest.mark.parametrize("name", sorted(name for name in ACTIONS if Role.AGENT in permissions.VERBS[name].roles))
def test_a_key_without_the_scope_is_refused_and_nothing_happens(name):
    team, _, _ = stage()
    scope = permissions.VERBS[name].scope
    assert scope is not None  # whatever an agent may do needs a scope
    others = [other for other in Scope.values if other != scope]
    refused(ACTIONS[name], make_agent(team, 2, scopes=others).viewer)


@pytest.mark.parametrize("name", sorted(name for name in ACTIONS if name.startswith(("team.", "person."))))
def test_what_belongs_to_the_installation_is_refused_to_a_teams_administrator(name):
    _, people, _ = stage()
    refused(ACTIONS[name], people[Role.ADMIN])
