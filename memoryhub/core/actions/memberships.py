"""Memberships: who is in a team, with which role and clearance."""

from collections.abc import Iterable

from memoryhub.core import ledger
from memoryhub.core.errors import Code, Conflict, Invalid
from memoryhub.core.labels import ensure_label
from memoryhub.core.models import Actor, Kind, Membership, Role, Sensitivity, Team
from memoryhub.core.verbs import ADMINS, action
from memoryhub.core.viewers import Viewer
from memoryhub.core.words import read_compartments

MOST_NAME = 100
HUMAN_ROLES = (Role.READER, Role.SUPPORT, Role.LEAD, Role.ADMIN)


@action("membership.add", roles=ADMINS)
def add(
    viewer: Viewer, *, actor: Actor, name: str, role: str, clearance: int, compartments: Iterable[str] = ()
) -> Membership:
    """Add an actor to the viewer's team. Raises Conflict when they are in it or the name is taken."""
    words = _check(actor.kind, role, clearance, compartments)
    if not name.strip() or len(name) > MOST_NAME:
        raise Invalid(f"A name has 1 to {MOST_NAME} characters.")
    members = Membership.objects.filter(team_id=viewer.team)
    if members.filter(actor=actor).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"{actor.username} is in this team already.")
    if members.filter(name=name).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"The name {name!r} is taken in this team.")
    member = Membership.objects.create(
        actor=actor,
        team=Team.objects.get(id=viewer.team),
        name=name,
        role=role,
        clearance=clearance,
        compartments=words,
    )
    _record(viewer, "membership.add", member)
    return member


@action("membership.change", roles=ADMINS)
def change(
    viewer: Viewer,
    *,
    member: Membership,
    role: str,
    clearance: int,
    compartments: Iterable[str],
    is_active: bool,
) -> Membership:
    """Change role, clearance, compartments, or whether the member is active.

    What is taken away is gone at the next request, and sockets close within 2 s. Raises Invalid for one's own.
    """
    if member.team_id != viewer.team or member.role == Role.SYSTEM:
        raise Invalid("This member is not of this team.")
    if member.id == viewer.membership:
        raise Invalid("You cannot change your own rights; ask another administrator.")
    words = _check(member.actor.kind, role, clearance, compartments)
    member.role, member.clearance, member.compartments, member.is_active = role, clearance, words, is_active
    member.save(update_fields=["role", "clearance", "compartments", "is_active"])
    _record(viewer, "membership.change", member)
    return member


def _check(kind: str, role: str, clearance: int, compartments: Iterable[str]) -> list[str]:
    if (kind == Kind.AGENT) != (role == Role.AGENT) or (kind == Kind.HUMAN and role not in HUMAN_ROLES):
        raise Invalid(f"The role {role} is not for this kind of member.")
    if clearance not in Sensitivity.values:
        raise Invalid("A clearance is public, internal or confidential.")
    try:
        return read_compartments(" ".join(compartments))
    except ValueError as error:
        raise Invalid(str(error)) from error


def _record(viewer: Viewer, verb: str, member: Membership) -> None:
    label = ensure_label(viewer, min(viewer.clearance, Sensitivity.INTERNAL))
    ledger.append(
        viewer,
        verb,
        label=label.id,
        row_type="membership",
        row_id=member.id,
        data={"role": member.role, "clearance": member.clearance, "active": member.is_active},
    )
