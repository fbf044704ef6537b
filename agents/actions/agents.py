"""Agents: add, change. An agent is a member of one team; what it may do and see is its membership's."""

from collections.abc import Iterable

from django.core.exceptions import ValidationError

from agents.models import Agent
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions import memberships
from memoryhub.core.actions.administration import record
from memoryhub.core.errors import Invalid
from memoryhub.core.ids import new_id
from memoryhub.core.models import Actor, ActorKind, Role
from memoryhub.core.viewers import Viewer


@action("agent.add", roles=ADMINS)
def add(
    viewer: Viewer,
    *,
    name: str,
    clearance: int,
    compartments: Iterable[str] = (),
    group: str = "",
    description: str = "",
) -> Agent:
    """A new agent of the viewer's team. It has no key yet (keys.issue) and can never sign in.

    `name`: 1..100 characters, unique in the team; `group`: at most 60, a word that alerts can be sent to;
    `description`: at most 300. Raises Conflict (already_exists) when the name is taken, Invalid past the bounds,
    Forbidden for rights above the viewer's own.
    """
    if not 1 <= len(name) <= 100:
        raise Invalid("An agent's name has 1 to 100 characters.")
    actor = Actor(username=str(new_id()), kind=ActorKind.AGENT)
    actor.set_unusable_password()
    actor.save(force_insert=True)
    member = memberships.add(
        viewer, actor=actor, name=name, role=Role.AGENT, clearance=clearance, compartments=compartments
    )
    agent = Agent(membership=member, group=group, description=description)
    _check(agent)
    agent.save(force_insert=True)
    record(viewer, "agent.add", member.id, name=member.name, group=group)
    return agent


@action("agent.change", roles=ADMINS)
def change(
    viewer: Viewer,
    *,
    agent: Agent,
    clearance: int | None = None,
    compartments: Iterable[str] | None = None,
    is_active: bool | None = None,
    group: str | None = None,
    description: str | None = None,
) -> Agent:
    """Change an agent's rights, group or description; what is not given stays as it is. Bounds as of add().

    What is taken away is gone at its next request. Whoever holds one of its keys gets what is given, at the next
    request, too. Raises Invalid for an agent of another team, Forbidden for rights above the viewer's own.
    """
    member = memberships.change(  # from here on nobody else changes it
        viewer,
        member=agent.membership,
        role=Role.AGENT,
        clearance=clearance,
        compartments=compartments,
        is_active=is_active,
    )
    was = Agent.objects.filter(pk=agent.pk).values("group", "description").get()
    agent.membership = member
    agent.group = was["group"] if group is None else group
    agent.description = was["description"] if description is None else description
    _check(agent)
    agent.save(update_fields=["group", "description"])
    before = {"group": was["group"]} if was["group"] != agent.group else {}
    record(
        viewer,
        "agent.change",
        member.id,
        name=member.name,
        group=agent.group,
        description_changed=agent.description != was["description"],
        before=before,
    )
    return agent


def _check(agent: Agent) -> None:
    try:
        agent.clean_fields(exclude=["membership"])
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error
