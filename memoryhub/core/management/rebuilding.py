"""What the commands that rebuild something of each team share: which teams, and how far they are."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.core.models import Team


class RebuildCommand(BaseCommand):
    """Rebuilds something of one team, or of all, with progress."""

    def rebuild(self, team: int, say: Callable[[str], object]) -> None:
        """Rebuild a team's; `say` is called with what is done so far."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="SLUG", help="only this team's; all teams' without it")

    def handle(self, *args: Any, team: str | None, **options: Any) -> None:
        teams = Team.objects.filter(slug=team) if team else Team.objects.order_by("slug")
        if team and not teams:
            raise CommandError(f"There is no team {team!r}.")
        for one in teams:

            def say(done: str, slug: str = one.slug) -> None:
                self.stderr.write(f"{slug}: {done}", ending="\r" if self.stderr.isatty() else "\n")

            self.rebuild(one.id, say)
            self.stderr.write(f"{one.slug}: done.      ")
