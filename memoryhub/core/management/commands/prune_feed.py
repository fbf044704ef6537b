"""manage.py prune_feed: raise the floors of the teams' feeds, as the scheduler does once a day."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memoryhub.core.actions import feed
from memoryhub.core.ledger.events import read_ledger
from memoryhub.core.management.arguments import refusals, system_of
from memoryhub.core.models import Team


class Command(BaseCommand):
    help = (
        "Raise the floor of each team's feed to its last event older than the team's feed days. Readers that are"
        " further behind start afresh; the ledger keeps every event."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="SLUG", help="this team only")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")

    def handle(self, *args: Any, team: str | None, dry_run: bool, **options: Any) -> None:
        slugs = [team] if team else Team.objects.order_by("slug").values_list("slug", flat=True)
        for slug in slugs:
            viewer = system_of(slug)
            ledger = read_ledger(viewer)
            before = ledger.floor
            with refusals():
                floor = feed.find_floor(viewer) if dry_run else feed.prune(viewer)
            verb = "would be" if dry_run else "is"
            if floor > before:
                events = ledger.position(floor) - ledger.position(before)
                self.stdout.write(f"{slug}: the floor {verb} {floor}, {events} events higher.")
            else:
                self.stdout.write(f"{slug}: the floor stays at {before}.")
