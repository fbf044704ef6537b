"""A row is found by its id, and never by reading its team: the policies offer no index on the team (core.access.rls)."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import team_as_filter

TABLES = ("task", "observation", "decision", "fact", "fact_version", "learning", "alert")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0011_each_version_of_a_task_has_an_id")]

    operations: ClassVar[list[Operation]] = [team_as_filter(*TABLES)]
