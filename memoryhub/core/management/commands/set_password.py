"""manage.py set_password: a person's password, chosen at the terminal."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.core.actions import people
from memoryhub.core.management.arguments import installation, person_named, read_password, refusals
from memoryhub.core.models import PasswordOrigin


class Command(BaseCommand):
    help = (
        "Set a person's password, typed twice or read from a file, and end their sessions. It opens nothing until the "
        "person has chosen another, unless they chose this one (--own)."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Else `--password secret` would pass for --password-file, and the refusal would show the secret.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="what they sign in with")
        parser.add_argument(
            "--password-file", metavar="FILE", help="its first line is the password; - is standard input"
        )
        parser.add_argument("--own", action="store_true", help="it is the person's own choice, and need not be changed")

    def handle(self, *args: Any, username: str, password_file: str | None, own: bool, **options: Any) -> None:
        person = person_named(username)
        password = read_password(password_file) if password_file else _typed()
        origin = PasswordOrigin.OWN if own else PasswordOrigin.GIVEN
        with refusals():
            people.set_password(installation(), person=person, password=password, origin=origin)
        self.stderr.write(f"The password of {username} is set; their sessions have ended.")


def _typed() -> str:
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to type it at: give --password-file, - for standard input.")
    password = getpass.getpass("New password: ")
    if password != getpass.getpass("Again: "):
        raise CommandError("The two passwords differ.")
    return password
