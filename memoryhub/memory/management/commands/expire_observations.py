"""manage.py expire_observations: remove expired observations now, or report what would be removed."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memoryhub.core.management.arguments import refusals, system_of
from memoryhub.core.models import SYSTEM_TEAM, Team
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions import retention

BATCH = 500
TELL_EVERY_SECONDS = 5.0


class Command(BaseCommand):
    help = (
        "Remove observations that have expired, as the worker does once a minute. Pinned ones do not expire; those of "
        "a task whose escalation is open are kept until it is over."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing, and report what would be removed")
        parser.add_argument("--team", metavar="SLUG", help="only this team")

    def handle(self, *args: Any, dry_run: bool, team: str | None, **options: Any) -> None:
        teams = Team.objects.exclude(slug=SYSTEM_TEAM).order_by("slug").values_list("slug", flat=True)
        with refusals():
            for slug in teams if team is None else [team]:
                viewer = system_of(slug)
                due = retention.due(viewer)
                if dry_run:
                    self._report(viewer, f"{due.expired - due.kept} would be removed", due.kept)
                else:
                    self._report(viewer, f"{self._remove(viewer, due)} removed", due.kept)

    def _remove(self, viewer: Viewer, due: retention.Due) -> int:
        removed, told_at = 0, time.monotonic()
        while batch := retention.expire(viewer, limit=BATCH):
            removed += batch
            if time.monotonic() - told_at > TELL_EVERY_SECONDS:
                told_at = time.monotonic()
                self.stdout.write(f"{viewer.team_slug}: {removed} of {due.expired - due.kept} so far")
                self.stdout.flush()
        return removed

    def _report(self, viewer: Viewer, what: str, kept: int) -> None:
        self.stdout.write(f"{viewer.team_slug}: {what}, {kept} kept for open escalations.")
