"""manage.py change_person: a person's account, whatever the rights of the installation's administrators are."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.core.actions import people
from memoryhub.core.delegation import administers_installation
from memoryhub.core.management.arguments import argument, installation, refusals, yes_or_no
from memoryhub.core.models import Actor, Kind


class Command(BaseCommand):
    help = (
        "Change an account: what is given here is changed, the rest stays. The way back when nobody administers the "
        "installation; the ledger of the team system records it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="what they sign in with")
        for word, told in (
            ("active", "may sign in"),
            ("staff", "may open the admin pages of the teams that they administer"),
            ("superuser", "administers the installation"),
        ):
            parser.add_argument(f"--{word}", type=argument(yes_or_no), metavar="yes|no", help=told)
        parser.add_argument("--email")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        person = Actor.objects.filter(username=username, kind=Kind.HUMAN).first()
        if person is None:
            raise CommandError(f"Nobody has the user name {username!r}.")
        now: dict[str, Any] = {
            "email": person.email,
            "active": person.is_active,
            "staff": person.is_staff,
            "superuser": administers_installation(person.id),
        }
        wanted = {word: value if options[word] is None else options[word] for word, value in now.items()}
        with refusals():
            people.change(
                installation(),
                person=person,
                email=wanted["email"],
                is_active=wanted["active"],
                is_staff=wanted["staff"],
                is_superuser=wanted["superuser"],
            )
        self.stderr.write(f"Changed the account {username}.")
