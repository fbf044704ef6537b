"""The second lock on the desk's tables."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import label_key, policies

TABLES = ("escalation", "escalation_note", "escalation_answer")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("escalations", "0001_initial"),
        ("core", "0002_ledger_clock_and_row_level_security"),
    ]

    operations: ClassVar[list[Operation]] = [
        *[label_key(table) for table in TABLES],
        *[policies(table) for table in TABLES],
    ]
