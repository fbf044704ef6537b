"""manage.py add_compartment: a new need-to-know word of a team."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memoryhub.core.actions import compartments, memberships
from memoryhub.core.management.arguments import member_named, refusals, system_of
from memoryhub.core.transactions import viewer_transaction


class Command(BaseCommand):
    help = "Add a compartment to a team and give it to a member, an administrator who can then give it to others."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="1 to 40 of the characters a-z 0-9 _ -")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument("--to", required=True, metavar="NAME", help="the member who gets it, by the team's name")

    def handle(self, *args: Any, name: str, team: str, to: str, **options: Any) -> None:
        viewer = system_of(team)
        member = member_named(viewer, to)
        with refusals(), viewer_transaction(viewer):
            made = compartments.add(viewer, name=name)
            memberships.change(viewer, member=member, compartments=[*member.compartments, made.name])
        self.stderr.write(f"Added the compartment {made.name} to the team {team}; {to} has it.")
