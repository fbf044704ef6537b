"""manage.py add_person: an account for a person, and their membership in a team."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug

from memoryhub.core.actions import memberships, people
from memoryhub.core.actions.memberships import HUMAN_ROLES
from memoryhub.core.management.arguments import (
    add_rights,
    installation,
    new_password,
    read_password,
    refusals,
    system_of,
)
from memoryhub.core.models import SYSTEM_TEAM, Actor, ActorKind, Membership, PasswordOrigin, Role


class Command(BaseCommand):
    help = (
        "Add a person to a team. Who has no account gets one, and its password is printed once: on standard output, "
        "alone. Who has one keeps it as it is."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Else `--password secret` would pass for --password-file, and the refusal would show the secret.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="what they sign in with")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument("--role", choices=[role.value for role in HUMAN_ROLES], default=Role.SUPPORT.value)
        add_rights(parser)
        parser.add_argument("--name", help="what the team calls them (default: the user name)")
        parser.add_argument("--email", default="")
        parser.add_argument("--staff", action="store_true", help="may open the admin pages (so may --role admin)")
        parser.add_argument(
            "--superuser", action="store_true", help="administers the installation, too: its teams and people"
        )
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="its first line is the password; - is standard input",
        )
        parser.add_argument("--own", action="store_true", help="the file's password is the person's own choice")

    def handle(self, *args: Any, username: str, team: str, **options: Any) -> None:
        viewer = system_of(team)
        name = options["name"] or username
        _check(username, name)
        if options["own"] and not options["password_file"]:
            raise CommandError("--own tells of the password in --password-file, which is missing.")
        with refusals():
            actor = Actor.objects.filter(username=username).first()
            # First, so that a refusal below does not leave an account behind.
            if Membership.objects.filter(team_id=viewer.team, name=name).exists():
                raise CommandError(f"The name {name!r} is taken in this team.")
            if actor is None:
                if options["superuser"] and viewer.team_slug == SYSTEM_TEAM:
                    options |= {"superuser": False, "role": Role.ADMIN.value}  # by the membership below
                actor = self._add_account(username, options)
            elif actor.kind != ActorKind.HUMAN or options["superuser"] or options["staff"] or options["password_file"]:
                raise CommandError(f"{username!r} has an account already; manage.py change_person changes it.")
            rights = {word: options[word] for word in ("role", "clearance", "compartments")}
            memberships.add(viewer, actor=actor, name=name, **rights)
        self.stderr.write(f"{name} is in the team {team} as {options['role']}.")

    def _add_account(self, username: str, options: dict[str, Any]) -> Actor:
        given = options["password_file"]
        password = read_password(given) if given else new_password()
        actor = people.add(
            installation(),
            username=username,
            password=password,
            email=options["email"],
            is_staff=options["staff"] or options["role"] == Role.ADMIN,
            is_superuser=options["superuser"],
            origin=PasswordOrigin.OWN if options["own"] else PasswordOrigin.GIVEN,
        )
        if not given:
            self.stderr.write(f"The first password of {username}, shown only now; signing in asks for another:")
            self.stdout.write(password)
        return actor


def _check(username: str, name: str) -> None:
    try:
        validate_slug(username.replace("@", "").replace(".", ""))
    except ValidationError:
        raise CommandError("A user name is made of the characters a-z A-Z 0-9 _ - . @") from None
    if len(username) > 150 or not 1 <= len(name) <= 100:
        raise CommandError("A user name has at most 150 characters, a name 1 to 100.")
