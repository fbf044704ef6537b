"""What the commands that call actions share: reading their arguments, refusals as sentences, passwords."""

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.db.backends.utils import CursorWrapper

from memoryhub.core import wake
from memoryhub.core.access.label_text import read_compartments, read_level
from memoryhub.core.errors import HubError
from memoryhub.core.models import SYSTEM_TEAM, Actor, ActorKind, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer, system_viewer

T = TypeVar("T")


def argument(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader that raises ValueError with a sentence, as argparse wants it."""

    def parse(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def add_rights(parser: CommandParser) -> None:
    """The arguments --clearance and --compartments."""
    parser.add_argument(
        "--clearance",
        type=argument(read_level),
        default=Sensitivity.INTERNAL.value,
        metavar="LEVEL",
        help="the highest level they may read: public, internal (the default) or confidential",
    )
    parser.add_argument(
        "--compartments",
        type=argument(read_compartments),
        default=[],
        metavar="WORDS",
        help="need-to-know words, separated by commas, such as finance,pii",
    )


def yes_or_no(text: str) -> bool:
    """Raises ValueError for another word."""
    if text not in ("yes", "no"):
        raise ValueError(f"yes or no, not {text[:60]!r}.")
    return text == "yes"


def system_of(slug: str) -> Viewer:
    """The system's viewer in the team of this slug. Raises CommandError."""
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        slugs = list(Team.objects.order_by("slug").values_list("slug", flat=True)[:20])
        raise CommandError(
            f"There is no team {slug!r}. Teams: {', '.join(slugs)}. Another one: manage.py add_team {slug} NAME"
        )
    return system_viewer(team.id)


def member_named(viewer: Viewer, name: str) -> Membership:
    """The team's member of this name, the system not among them. Raises CommandError."""
    members = Membership.objects.filter(team_id=viewer.team).exclude(role=Role.SYSTEM)
    found = members.select_related("actor").filter(name=name).first()
    if found is None:
        names = ", ".join(members.order_by("name").values_list("name", flat=True)[:20]) or "none yet"
        raise CommandError(f"There is no member {name!r} in the team {viewer.team_slug}. Members: {names}.")
    return found


def person_named(username: str) -> Actor:
    """The person of this user name. Raises CommandError."""
    found = Actor.objects.filter(username=username, kind=ActorKind.HUMAN).first()
    if found is None:
        raise CommandError(f"Nobody has the user name {username!r}.")
    return found


def installation() -> Viewer:
    """The system's viewer in the installation's own team."""
    return system_of(SYSTEM_TEAM)


@contextmanager
def owner_cursor() -> Iterator[CursorWrapper]:
    """A cursor of the database's owner, in autocommit. Raises CommandError where the command has no such login."""
    if "owner" not in connections:
        raise CommandError("This is the owner's to do: set DATABASE_OWNER_URL for this command.")
    with connections["owner"].cursor() as cursor:
        yield cursor


@contextmanager
def refusals() -> Iterator[None]:
    """What an action refuses becomes a CommandError; what it announced is sent before the process ends."""
    try:
        yield
    except HubError as error:
        raise CommandError(error.detail) from None
    finally:
        wake.flush()


def new_password() -> str:
    """A password for a person to type: 20 characters, 120 bits."""
    return secrets.token_urlsafe(15)


def read_password(file: str) -> str:
    """The first line of a file, or of standard input for `-`. Raises CommandError."""
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The password cannot be read from {file}: {error}") from None
    password = text.split("\n", 1)[0].rstrip("\r")
    if not password:
        raise CommandError(f"{file} has no password in its first line.")
    return password
