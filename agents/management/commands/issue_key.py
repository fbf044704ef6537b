"""manage.py issue_key: a new API key for an agent."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from agents.actions import keys
from agents.management.lookups import agent_named
from agents.models import DEFAULT_SCOPES, Scope
from memoryhub.core.management.arguments import refusals, system_of


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError("days: 1 to 3650")
    return int(text)


class Command(BaseCommand):
    help = "Issue an API key. It is printed once, on standard output and alone, and is not stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="the agent's name")
        parser.add_argument("--team", required=True, metavar="SLUG", help="the team")
        parser.add_argument(
            "--scopes",
            default=",".join(DEFAULT_SCOPES),
            metavar="WORDS",
            help=f"comma-separated, of {', '.join(Scope.values)} (default: all but insights:read and import)",
        )
        parser.add_argument("--days", type=_days, metavar="N", help="days until it expires (default: never)")
        parser.add_argument(
            "--rate-limit", type=int, metavar="N", help="requests per minute (default: RATE_LIMIT_PER_MINUTE)"
        )
        parser.add_argument("--name", default="", help="what it is for, at most 100 characters")

    def handle(self, *args: Any, agent: str, team: str, **options: Any) -> None:
        viewer = system_of(team)
        days = options["days"]
        with refusals():
            row, key = keys.issue(
                viewer,
                member=agent_named(viewer, agent),
                scopes=[word for word in options["scopes"].split(",") if word],
                name=options["name"],
                expires_at=timezone.now() + timedelta(days=days) if days else None,
                rate_limit=options["rate_limit"],
            )
        self.stderr.write(f"The key {row.id} of {agent}, shown only now:")
        self.stdout.write(key)
