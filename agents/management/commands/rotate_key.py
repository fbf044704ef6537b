"""manage.py rotate_key: replace an API key, which stays valid for an overlap."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.actions import keys
from agents.management.lookups import key_named
from memoryhub.core.management.arguments import refusals, system_of

MOST_HOURS = keys.MOST_OVERLAP // timedelta(hours=1)


def _hours(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_HOURS:
        raise argparse.ArgumentTypeError(f"hours: 0 to {MOST_HOURS}")
    return int(text)


class Command(BaseCommand):
    help = "Rotate an API key. The new one is printed once, on standard output and alone, and is not stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="its id, its first 14 characters, or the key itself")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument(
            "--overlap-hours",
            type=_hours,
            default=keys.OVERLAP // timedelta(hours=1),
            metavar="N",
            help="how long the old key stays valid (default: %(default)s; 0: not at all)",
        )

    def handle(self, *args: Any, key: str, team: str, overlap_hours: int, **options: Any) -> None:
        viewer = system_of(team)
        with refusals():
            old = key_named(viewer, key)
            row, fresh = keys.rotate(viewer, key=old, overlap=timedelta(hours=overlap_hours))
        self.stderr.write(f"The key {row.id} of {old.membership.name} in place of {old.id} ({old}), shown only now:")
        self.stdout.write(fresh)
