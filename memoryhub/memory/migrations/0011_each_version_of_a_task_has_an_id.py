"""A task's version is told from one of the same number in another history of the ledger (ADR 10)."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0010_a_new_version_of_a_fact_touches_no_index")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(model_name="task", name="change_id", field=models.UUIDField(null=True)),
    ]
