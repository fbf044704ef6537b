"""A row is found by its id, and never by reading its team: the policies offer no index on the team (core.access.rls)."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import team_as_filter

TABLES = ("event", "event_seq", "access_log")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0011_who_may_change_decisions_and_work_on_what")]

    operations: ClassVar[list[Operation]] = [team_as_filter(*TABLES)]
