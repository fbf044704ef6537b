"""manage.py createsuperuser: Django's command is refused; a membership makes an administrator of the installation."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.core.management.base import CommandError

WORDS = "manage.py change_person USERNAME --superuser yes makes an administrator, manage.py add_person an account."


class Command(createsuperuser.Command):
    help = f"Refused. {WORDS}"

    def handle(self, *args: Any, **options: Any) -> str:
        raise CommandError(WORDS)
