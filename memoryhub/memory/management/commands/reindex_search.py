"""manage.py reindex_search: rebuild the search index."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memoryhub.core.models import Team
from memoryhub.memory.search.rebuild import rebuild


class Command(BaseCommand):
    help = "Rebuild the search index from the memory, which may be read and written meanwhile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="SLUG", help="only this team's; all teams' without it")

    def handle(self, *args: Any, team: str | None, **options: Any) -> None:
        teams = Team.objects.filter(slug=team) if team else Team.objects.order_by("slug")
        if team and not teams:
            raise CommandError(f"There is no team {team!r}.")
        for one in teams:

            def say(type: str, rows: int, slug: str = one.slug) -> None:
                self.stderr.write(f"{slug}: {rows} {type}s", ending="\r" if self.stderr.isatty() else "\n")

            rebuild(one.id, say)
            self.stderr.write(f"{one.slug}: done.      ")
