"""manage.py new_life: after the database's files were put back from a copy."""

from typing import Any

from django.core.management.base import BaseCommand

from memoryhub.core.actions import lives
from memoryhub.core.management.arguments import refusals


class Command(BaseCommand):
    help = (
        "Begin a new life of every team's ledger: after the database's files were put back from a copy, which nothing"
        " in it tells. Clients that have heard what is lost are told so; the others notice nothing. Safe to repeat."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals():
            life = lives.begin_everywhere()
        self.stdout.write(f"The ledgers are in life {life}.")
