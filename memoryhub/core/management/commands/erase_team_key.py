"""manage.py erase_team_key: what a team has of confidential memory can never be read again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.core.actions import teams
from memoryhub.core.management.arguments import installation, owner_cursor, refusals, system_of
from memoryhub.core.models import Team


class Command(BaseCommand):
    help = (
        "Erase a team's data keys, as the owner of the database: its confidential texts are unavailable from then on, "
        "in every running process within two seconds, and in every backup that is made later. There is no way back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument(
            "--renew", action="store_true", help="make a new key, so that the team can go on with confidential memory"
        )

    def handle(self, *args: Any, team: str, renew: bool, **options: Any) -> None:
        viewer = system_of(team)
        self.stderr.write(f"All confidential memory of the team {team} will be lost. Type the team's slug to go on:")
        if input().strip() != team:
            raise CommandError("Nothing was erased.")
        with owner_cursor() as cursor, refusals():
            # First, so that no key is gone without a record.
            teams.erase_keys(installation(), team=Team.objects.get(id=viewer.team))
            cursor.execute("delete from team_key where team_id = %s", [viewer.team])
            self.stderr.write(f"{cursor.rowcount} data keys of the team {team} are erased.")
            if renew:
                teams.add_key(installation(), team=Team.objects.get(id=viewer.team))
                self.stderr.write("It has a new one.")
