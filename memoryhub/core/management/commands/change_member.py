"""manage.py change_member: a member's rights, whatever those of the team's administrators are."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memoryhub.core.access.label_text import read_compartments, read_level
from memoryhub.core.actions import memberships
from memoryhub.core.actions.memberships import HUMAN_ROLES
from memoryhub.core.management.arguments import argument, member_named, refusals, system_of, yes_or_no


class Command(BaseCommand):
    help = (
        "Change what a member of a team may do and see: what is given here is changed, the rest stays. Whoever runs "
        "this may give everything, to themselves, too; the team's ledger records it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the team calls the person or agent")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument("--role", choices=[role.value for role in HUMAN_ROLES], help="of a person")
        parser.add_argument(
            "--clearance", type=argument(read_level), metavar="LEVEL", help="public, internal, confidential"
        )
        parser.add_argument(
            "--compartments",
            type=argument(read_compartments),
            metavar="WORDS",
            help="all that they are to have, separated by commas; empty for none",
        )
        parser.add_argument("--active", type=argument(yes_or_no), metavar="yes|no")

    def handle(self, *args: Any, name: str, team: str, **options: Any) -> None:
        viewer = system_of(team)
        member = member_named(viewer, name)
        rights = {word: options[word] for word in ("role", "clearance", "compartments")}
        with refusals():
            memberships.change(viewer, member=member, is_active=options["active"], **rights)
        self.stderr.write(f"Changed {name} in the team {team}.")
