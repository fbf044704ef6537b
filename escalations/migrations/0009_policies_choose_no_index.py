"""A row is found by its id, and never by reading its team: the policies offer no index on the team (core.access.rls)."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import team_as_filter

TABLES = ("escalation", "escalation_answer", "escalation_draft", "escalation_note")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("escalations", "0008_each_version_of_an_escalation_has_an_id")]

    operations: ClassVar[list[Operation]] = [team_as_filter(*TABLES)]
