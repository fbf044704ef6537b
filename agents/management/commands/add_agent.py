"""manage.py add_agent: a new agent of a team."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.actions import agents
from memoryhub.core.management.arguments import add_rights, refusals, system_of


class Command(BaseCommand):
    help = "Add an agent to a team. It needs a key before it can do anything: manage.py issue_key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the team calls it, at most 100 characters")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        add_rights(parser)
        parser.add_argument("--group", default="", help="a word that alerts can be sent to, such as research")
        parser.add_argument("--description", default="", help="what it is for, at most 300 characters")

    def handle(self, *args: Any, name: str, team: str, **options: Any) -> None:
        with refusals():
            agents.add(
                system_of(team),
                name=name,
                clearance=options["clearance"],
                compartments=options["compartments"],
                group=options["group"],
                description=options["description"],
            )
        self.stderr.write(f"Added the agent {name} to the team {team}.")
