"""Memberships: who is in a team, with which role and clearance. What one may give is in core.access.delegation."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from memoryhub.core.access.delegation import (
    NOTHING,
    MemberRights,
    administers_installation,
    begin,
    keep_last,
    require_bounds,
)
from memoryhub.core.access.label_text import read_compartments
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions import compartments as registry
from memoryhub.core.actions.administration import record
from memoryhub.core.errors import Code, Conflict, Forbidden, Invalid
from memoryhub.core.models import Actor, ActorKind, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer

MOST_NAME = 100
HUMAN_ROLES = (Role.READER, Role.SUPPORT, Role.LEAD, Role.ADMIN)


@action("membership.add", roles=ADMINS)
def add(
    viewer: Viewer, *, actor: Actor, name: str, role: str, clearance: int, compartments: Iterable[str] = ()
) -> Membership:
    """Add an actor to the viewer's team.

    Raises Forbidden for a person unless the viewer administers the installation, too, and for rights above the viewer's
    own; Conflict when they are in the team already or the name is taken.
    """
    granter = begin(viewer)
    if actor.kind == ActorKind.HUMAN and not viewer.is_system and not administers_installation(viewer.actor):
        raise Forbidden("Only the installation's administrators may add an account to a team.")
    words = _check(actor.kind, role, clearance, compartments)
    rights = MemberRights(role, clearance, frozenset(words), is_active=True)
    require_bounds(granter, NOTHING, rights)
    if not name.strip() or len(name) > MOST_NAME:
        raise Invalid(f"A name has 1 to {MOST_NAME} characters.")
    require_new(viewer.team, actor, name, where="this team")
    if viewer.is_system:
        registry.register(viewer, words)
    member = Membership.objects.create(
        actor=actor,
        team=Team.objects.get(id=viewer.team),
        name=name,
        role=role,
        clearance=clearance,
        compartments=words,
    )
    _record(viewer, "membership.add", member, None)
    return member


@action("membership.change", roles=ADMINS)
def change(
    viewer: Viewer,
    *,
    member: Membership,
    role: str | None = None,
    clearance: int | None = None,
    compartments: Iterable[str] | None = None,
    is_active: bool | None = None,
) -> Membership:
    """Change role, clearance, compartments, or whether the member is active; what is not given stays as it is.

    What is taken away is gone at the next request, and sockets close within 2 s. Raises Invalid for one's own,
    Forbidden when more is given than the viewer has, Conflict when the last who has something would lose it
    (core.access.delegation).
    """
    granter = begin(viewer)
    if member.team_id != viewer.team or member.role == Role.SYSTEM:
        raise Invalid("This member is not of this team.")
    if member.id == viewer.membership:
        raise Invalid("You cannot change your own rights; ask another administrator.")
    # As it is now: what a form was filled from may be old, and the form has filled in the new values.
    present = Membership.objects.select_related("team").get(id=member.id)
    given: dict[str, Any] = {"role": role, "clearance": clearance, "compartments": compartments, "is_active": is_active}
    before = MemberRights.of(present)
    after = replace(before, **{name: value for name, value in given.items() if value is not None})
    words = _check(member.actor.kind, after.role, after.clearance, after.compartments)
    after = replace(after, compartments=frozenset(words))
    require_bounds(granter, before, after)
    keep_last(present, after)
    if viewer.is_system:
        registry.register(viewer, words)
    member.role, member.clearance, member.compartments = after.role, after.clearance, words
    member.is_active = after.is_active
    member.save(update_fields=["role", "clearance", "compartments", "is_active"])
    _record(viewer, "membership.change", member, before)
    return member


def require_new(team: int, actor: Actor, name: str, *, where: str) -> None:
    """Raises Conflict when the actor is in the team already, or the name is taken; `where`: the team, in words."""
    members = Membership.objects.filter(team_id=team)
    if members.filter(actor=actor).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"{actor.username} is in {where} already.")
    if members.filter(name=name).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"The name {name!r} is taken in {where}.")


def _check(kind: str, role: str, clearance: int, compartments: Iterable[str]) -> list[str]:
    if (kind == ActorKind.AGENT) != (role == Role.AGENT) or (kind == ActorKind.HUMAN and role not in HUMAN_ROLES):
        raise Invalid(f"The role {role} is not for this kind of member.")
    if clearance not in Sensitivity.values:
        raise Invalid("A clearance is public, internal or confidential.")
    try:
        return read_compartments(" ".join(compartments))
    except ValueError as error:
        raise Invalid(str(error)) from error


def _record(viewer: Viewer, verb: str, member: Membership, before: MemberRights | None) -> None:
    """The event: what the member has, and had where it differs.

    Compartments are named where they changed, and the event is then labelled with them: it tells of them only those
    who have them.
    """
    after = MemberRights.of(member)
    named: frozenset[str] = frozenset()
    if before is None or before.compartments != after.compartments:
        named = after.compartments | (before.compartments if before else frozenset())
    recorded = _recorded(after, bool(named))
    if before is not None:
        was = _recorded(before, bool(named))
        recorded["before"] = {field: was[field] for field in was if was[field] != recorded[field]}
    record(viewer, verb, member.id, named=named, name=member.name, **recorded)


def _recorded(rights: MemberRights, with_compartments: bool) -> dict[str, Any]:
    recorded: dict[str, Any] = {"role": rights.role, "clearance": rights.clearance, "active": rights.is_active}
    return {**recorded, "compartments": sorted(rights.compartments)} if with_compartments else recorded
