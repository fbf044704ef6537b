"""manage.py add_team: a new team."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug

from memoryhub.core.actions import teams
from memoryhub.core.management.arguments import installation, refusals


class Command(BaseCommand):
    help = "Add a team. It has no members yet: manage.py add_person and add_agent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="its short name in addresses: at most 60 of the characters a-z A-Z 0-9 _ -")
        parser.add_argument("name", help="its name, at most 120 characters")

    def handle(self, *args: Any, slug: str, name: str, **options: Any) -> None:
        try:
            validate_slug(slug)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if len(slug) > 60 or not 1 <= len(name) <= 120:
            raise CommandError("A team's slug has at most 60 characters, its name 1 to 120.")
        with refusals():
            team = teams.add(installation(), slug=slug, name=name)
        self.stderr.write(f"Added the team {team.slug}.")
