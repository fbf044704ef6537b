"""manage.py changepassword: Django's command is refused, which would leave no record, nor say whose choice it was."""

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandError

WORDS = "manage.py set_password USERNAME sets a password, and is recorded."


class Command(changepassword.Command):
    help = f"Refused. {WORDS}"

    def handle(self, *args: Any, **options: Any) -> str:
        raise CommandError(WORDS)
