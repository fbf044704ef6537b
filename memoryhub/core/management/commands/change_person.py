"""manage.py change_person: a person's account, whatever the rights of the installation's administrators are."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memoryhub.core.actions import people
from memoryhub.core.management.arguments import argument, installation, person_named, refusals, yes_or_no


class Command(BaseCommand):
    help = (
        "Change an account: what is given here is changed, the rest stays. The way back when nobody administers the "
        "installation; the ledger of the team system records it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="what they sign in with")
        for word, help_text in (
            ("active", "may sign in"),
            ("staff", "may open the admin pages of the teams that they administer"),
            ("superuser", "administers the installation"),
        ):
            dest = f"is_{word}"
            parser.add_argument(f"--{word}", dest=dest, type=argument(yes_or_no), metavar="yes|no", help=help_text)
        parser.add_argument("--email")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        person = person_named(username)
        account = {word: options[word] for word in ("email", "is_active", "is_staff", "is_superuser")}
        with refusals():
            people.change(installation(), person=person, **account)
        self.stderr.write(f"Changed the account {username}.")
