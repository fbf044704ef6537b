"""People: their accounts, which belong to no team and so are in the ledger of the team `system`."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from memoryhub.core.access.delegation import NOTHING, administers_installation, begin, keep_last, require_over
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions import memberships
from memoryhub.core.actions.administration import record
from memoryhub.core.errors import Code, Conflict, Invalid
from memoryhub.core.models import Actor, ActorKind, Membership, PasswordOrigin, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer


@action("person.add", roles=ADMINS, in_installation=True)
def add(
    viewer: Viewer,
    *,
    username: str,
    password: str | None,
    email: str = "",
    is_staff: bool = False,
    is_superuser: bool = False,
    origin: str = PasswordOrigin.GIVEN,
    is_demo: bool = False,
) -> Actor:
    """A new account. Without a password the person cannot sign in yet.

    `is_staff`: opens the admin pages of the teams that the person administers. `is_superuser`: administers the
    installation, as a member of its team, and opens its admin pages. `origin`: who chose the password; unless the
    person did, or is of the demo, it must be changed at the first sign-in. Raises Conflict when the user name is taken,
    Invalid for a weak password.
    """
    begin(viewer)
    if Actor.objects.filter(username=username).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"The user name {username!r} is taken.")
    person = Actor(
        username=username, email=email, kind=ActorKind.HUMAN, is_staff=is_staff or is_superuser, is_demo=is_demo
    )
    _set_password(person, password, origin if password is not None else PasswordOrigin.OWN)
    person.save(force_insert=True)
    _record(viewer, "person.add", person, active=True, staff=person.is_staff, superuser=is_superuser)
    if is_superuser:
        _let_administer(viewer, person)
    return person


@action("person.change", roles=ADMINS, in_installation=True)
def change(
    viewer: Viewer,
    *,
    person: Actor,
    email: str | None = None,
    is_active: bool | None = None,
    is_staff: bool | None = None,
    is_superuser: bool | None = None,
) -> Actor:
    """Change an account; what is not given stays as it is. Deactivating it ends its sessions at the next request and
    its sockets within 2 s.

    Making it active again needs all that the person has in their teams. `is_staff` opens admin pages, but gives nothing
    to do there: that is the role in a team. `is_superuser` gives or ends the membership in the installation's team, and
    is kept nowhere else. Raises Invalid for one's own administration, Forbidden, and Conflict when a team's last
    administrator would be lost (core.access.delegation).
    """
    if person.kind != ActorKind.HUMAN:
        raise Invalid("Agents are changed in their team.")
    begin(viewer, also=Membership.objects.filter(actor_id=person.id, role=Role.ADMIN).values_list("team_id", flat=True))
    # The account before any membership, as whatever keeps both from changing locks them (escalations.standing).
    before = Actor.objects.select_for_update(no_key=True).get(id=person.id)
    administered = administers_installation(person.id)
    email = before.email if email is None else email
    is_active = before.is_active if is_active is None else is_active
    is_staff = before.is_staff if is_staff is None else is_staff
    is_superuser = administered if is_superuser is None else is_superuser
    if is_superuser and not administered:
        is_staff = True
    if person.id == viewer.actor and not (is_active and is_staff and is_superuser):
        raise Invalid("You cannot take your own administration away; ask another administrator.")
    if is_active and not before.is_active:
        require_over(viewer, person.id)
    if not (is_active and is_staff):
        for member in Membership.objects.filter(actor_id=person.id, role=Role.ADMIN).select_related("team"):
            keep_last(member, NOTHING)
    if administered and not is_superuser:
        member = Membership.objects.select_related("actor").get(team_id=viewer.team, actor=person)
        memberships.change(viewer, member=member, is_active=False)
    person.email, person.is_active, person.is_staff = email, is_active, is_staff
    person.save(update_fields=["email", "is_active", "is_staff"])
    recorded = {"active": is_active, "staff": is_staff, "superuser": is_superuser}
    was = {"active": before.is_active, "staff": before.is_staff, "superuser": administered}
    changed = {field: was[field] for field in recorded if was[field] != recorded[field]}
    _record(viewer, "person.change", person, **recorded, email_changed=email != before.email, before=changed)
    if is_superuser and not administered:
        _let_administer(viewer, person)
    return person


@action("person.join", roles=ADMINS, in_installation=True)
def join(viewer: Viewer, *, person: Actor, team: Team) -> Membership:
    """Put an account on a team's list: a reader cleared for public, not active, until its administrators change it.

    It gives nothing, since the viewer may have no rights in the team. Raises Invalid for an agent and for the
    installation's own team, Conflict when the person is in the team or their user name is taken there.
    """
    begin(viewer, also=[team.id])
    if person.kind != ActorKind.HUMAN or team.id == viewer.team:
        raise Invalid("People are added to teams other than the installation's own.")
    memberships.require_new(team.id, person, person.username, where=f"the team {team.slug}")
    member = Membership.objects.create(
        actor=person,
        team=team,
        name=person.username,
        role=Role.READER,
        clearance=Sensitivity.PUBLIC,
        is_active=False,
    )
    _record(viewer, "person.join", person, team=team.slug, membership=str(member.id), role=member.role, active=False)
    return member


@action("person.set_password", roles=ADMINS, in_installation=True)
def set_password(viewer: Viewer, *, person: Actor, password: str, origin: str = PasswordOrigin.GIVEN) -> None:
    """Set a person's password, which ends their sessions.

    Unless `origin` says that the person has chosen it, it must be changed at the next sign-in. Raises Forbidden when
    the person has more than the viewer in any team, Invalid for a weak password and for one's own, which a page
    changes that asks for the present one (change_own_password).
    """
    if person.kind != ActorKind.HUMAN:
        raise Invalid("Only people have a password.")
    begin(viewer)
    if person.id == viewer.actor:
        raise Invalid("Change your own password at /account/password/, which asks for the present one.")
    require_over(viewer, person.id)
    _set_password(person, password, origin)
    person.save(update_fields=["password", "password_origin"])
    _record(viewer, "person.set_password", person)


@action("person.change_own_password", roles=(), in_installation=True)
def change_own_password(viewer: Viewer, *, person: Actor, password: str) -> None:
    """A person's own choice, which ends their other sessions. Raises Invalid for a weak one.

    The page has asked for the present password. An account belongs to no team: the installation records it.
    """
    _set_password(person, password, PasswordOrigin.OWN)
    person.save(update_fields=["password", "password_origin"])
    _record(viewer, "person.change_own_password", person)


def _let_administer(viewer: Viewer, person: Actor) -> None:
    member = Membership.objects.select_related("actor").filter(team_id=viewer.team, actor=person).first()
    rights: dict[str, Any] = {"role": Role.ADMIN, "clearance": min(viewer.clearance, Sensitivity.INTERNAL)}
    if member is None:
        memberships.add(viewer, actor=person, name=person.username, **rights)
    else:
        memberships.change(viewer, member=member, compartments=[], is_active=True, **rights)


def _set_password(person: Actor, password: str | None, origin: str) -> None:
    if password is not None:
        try:
            validate_password(password, person)
        except ValidationError as error:
            raise Invalid(" ".join(error.messages)) from error
    person.set_password(password)
    person.password_origin = origin


def _record(viewer: Viewer, verb: str, person: Actor, **data: Any) -> None:
    record(viewer, verb, person.id, name=person.username, **data)
