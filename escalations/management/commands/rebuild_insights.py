"""manage.py rebuild_insights: rebuild the roll-up of the insights."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from escalations.reports.roll_up import rebuild
from memoryhub.core.models import Team


class Command(BaseCommand):
    help = "Rebuild the insights' roll-up from the ledger. Meanwhile the figures are right, and slower to come."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="SLUG", help="only this team's; all teams' without it")

    def handle(self, *args: Any, team: str | None, **options: Any) -> None:
        teams = Team.objects.filter(slug=team) if team else Team.objects.order_by("slug")
        if team and not teams:
            raise CommandError(f"There is no team {team!r}.")
        for one in teams:

            def say(events: int, slug: str = one.slug) -> None:
                self.stderr.write(f"{slug}: {events} events", ending="\r" if self.stderr.isatty() else "\n")

            rebuild(one.id, say)
            self.stderr.write(f"{one.slug}: done.      ")
