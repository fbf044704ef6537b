"""manage.py reindex_vectors: give every row that may have one a vector of the current model."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from memoryhub.core.access.grants import grant_app_role
from memoryhub.core.models import Team
from memoryhub.memory.search import vector_indexer
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.vector_indexer import BatchOutcome

SAY_SECONDS = 2.0
MAX_FAILURES = 5  # in a row


class Command(BaseCommand):
    help = (
        "Request the vectors of all rows that have none of the current model from the embeddings endpoint, and delete "
        "those of other models. If interrupted, run it again; the memory may be read and written meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="SLUG", help="only this team's; all teams' without it")

    def handle(self, *args: Any, team: str | None, **options: Any) -> None:
        if not settings.EMBEDDINGS_URL:
            raise CommandError("No embeddings endpoint is configured: set EMBEDDINGS_URL and EMBEDDINGS_MODEL.")
        teams = Team.objects.filter(slug=team) if team else Team.objects.order_by("slug")
        if team and not teams:
            raise CommandError(f"There is no team {team!r}.")
        self._make()
        for one in teams:
            self._embed(one)

    def _make(self) -> None:
        """Create the tables of vectors, where pgvector was installed after the migrations were run."""
        if vector_indexer.are_made():
            return
        if "owner" not in settings.DATABASES:
            raise CommandError(
                "The database has no vector tables yet: set DATABASE_OWNER_URL for this command, which creates them."
            )
        with connections["owner"].cursor() as cursor:
            cursor.execute("select search_vector_make()")
            (is_made,) = cursor.fetchone()
        if not is_made:
            raise CommandError(
                "The database server has no pgvector that its owner may use: install it, and as a superuser run "
                "CREATE EXTENSION vector SCHEMA public in this database. Then run this command again."
            )
        grant_app_role("owner")

    def _embed(self, team: Team) -> None:
        catch_up(team.id)
        total = vector_indexer.begin(team.id)
        begun = said = time.monotonic()
        failures = 0
        while True:
            outcome = vector_indexer.embed(team.id)
            failures = failures + 1 if outcome is BatchOutcome.FAILED else 0
            if failures >= MAX_FAILURES:
                raise CommandError(
                    f"{team.slug}: the endpoint failed {MAX_FAILURES} times in a row: see the log. "
                    "What is done is kept: run this command again to continue."
                )
            due, refused = vector_indexer.left(team.id)
            if outcome is BatchOutcome.NOTHING and due == 0:
                break
            if time.monotonic() > said + SAY_SECONDS:
                said = time.monotonic()
                self._say(team, total - due - refused, total, begun)
            if outcome is not BatchOutcome.SENT:
                time.sleep(2.0**failures if failures else 1.0)  # the rest are claimed by a worker
        self._say(team, total - refused, total, begun)
        if refused:
            self.stderr.write(f"{team.slug}: refused by the endpoint: {refused}; they are retried with backoff.")

    def _say(self, team: Team, done: int, total: int, begun: float) -> None:
        rate = max(done, 0) / max(time.monotonic() - begun, 0.001)
        self.stderr.write(f"{team.slug}: {max(done, 0)} of {total} rows, {rate:.0f} a second")
