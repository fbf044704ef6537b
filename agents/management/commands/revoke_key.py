"""manage.py revoke_key: revoke an API key, immediately."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.actions import keys
from agents.management.lookups import key_named
from memoryhub.core.management.arguments import refusals, system_of


class Command(BaseCommand):
    help = "Revoke an API key. It is refused from the next request on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="its id, its first 14 characters, or the key itself")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")

    def handle(self, *args: Any, key: str, team: str, **options: Any) -> None:
        viewer = system_of(team)
        with refusals():
            row = keys.revoke(viewer, key=key_named(viewer, key))
        self.stderr.write(f"Revoked the key {row.id} ({row}) of {row.membership.name}.")
