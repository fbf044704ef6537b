"""People: their accounts, which belong to no team and so are in the ledger of the team `system`."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from memoryhub.core import ledger
from memoryhub.core.actions.teams import require_installation
from memoryhub.core.errors import Code, Conflict, Invalid
from memoryhub.core.labels import ensure_label
from memoryhub.core.models import Actor, Kind, PasswordOrigin, Sensitivity
from memoryhub.core.verbs import ADMINS, action
from memoryhub.core.viewers import Viewer


@action("person.add", roles=ADMINS)
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

    `origin`: who chose the password; unless the person did, or is of the demo, it must be changed at the first sign-in.

    Raises Conflict when the user name is taken, Invalid for a weak password.
    """
    require_installation(viewer)
    if Actor.objects.filter(username=username).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"The user name {username!r} is taken.")
    person = Actor(
        username=username,
        email=email,
        kind=Kind.HUMAN,
        is_staff=is_staff or is_superuser,
        is_superuser=is_superuser,
        is_demo=is_demo,
    )
    _set_password(person, password, origin if password is not None else PasswordOrigin.OWN)
    person.save(force_insert=True)
    _record(viewer, "person.add", person)
    return person


@action("person.change", roles=ADMINS)
def change(viewer: Viewer, *, person: Actor, email: str, is_active: bool, is_staff: bool, is_superuser: bool) -> Actor:
    """Change an account. Deactivating it ends its sessions at the next request and its sockets within 2 s."""
    require_installation(viewer)
    if person.kind != Kind.HUMAN:
        raise Invalid("Agents are changed in their team.")
    if person.id == viewer.actor and not (is_active and is_superuser):
        raise Invalid("You cannot take your own administration away; ask another administrator.")
    person.email, person.is_active = email, is_active
    person.is_staff, person.is_superuser = is_staff or is_superuser, is_superuser
    person.save(update_fields=["email", "is_active", "is_staff", "is_superuser"])
    _record(viewer, "person.change", person)
    return person


@action("person.set_password", roles=ADMINS)
def set_password(viewer: Viewer, *, person: Actor, password: str, origin: str = PasswordOrigin.GIVEN) -> None:
    """Set a person's password, which ends their sessions. Raises Invalid for a weak one.

    Unless `origin` says that the person has chosen it, it must be changed at the next sign-in.
    """
    require_installation(viewer)
    if person.kind != Kind.HUMAN:
        raise Invalid("Only people have a password.")
    if person.id == viewer.actor:
        origin = PasswordOrigin.OWN
    _set_password(person, password, origin)
    person.save(update_fields=["password", "password_origin"])
    _record(viewer, "person.set_password", person)


@action("person.change_own_password", roles=())
def change_own_password(viewer: Viewer, *, person: Actor, password: str) -> None:
    """A person's own choice, which ends their other sessions. Raises Invalid for a weak one.

    The page has asked for the present password. An account belongs to no team: the installation records it.
    """
    require_installation(viewer)
    _set_password(person, password, PasswordOrigin.OWN)
    person.save(update_fields=["password", "password_origin"])
    _record(viewer, "person.change_own_password", person)


def _set_password(person: Actor, password: str | None, origin: str) -> None:
    if password is not None:
        try:
            validate_password(password, person)
        except ValidationError as error:
            raise Invalid(" ".join(error.messages)) from error
    person.set_password(password)
    person.password_origin = origin


def _record(viewer: Viewer, verb: str, person: Actor) -> None:
    label = ensure_label(viewer, min(viewer.clearance, Sensitivity.INTERNAL))
    ledger.append(viewer, verb, label=label.id, row_type="person", row_id=person.id)
