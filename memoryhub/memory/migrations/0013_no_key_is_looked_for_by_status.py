"""A task's key is looked for by its own index, also while PostgreSQL knows nothing of the table (ADR 11)."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0012_policies_choose_no_index")]

    operations: ClassVar[list[Operation]] = [
        migrations.RemoveIndex(model_name="task", name="task_by_status"),
        migrations.AddIndex(
            model_name="task", index=models.Index(fields=["status", "team", "id"], name="task_by_status")
        ),
    ]
