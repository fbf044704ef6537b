"""A task's pinned and important observations are found without a look at the others."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0007_search")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddIndex(
            model_name="observation",
            index=models.Index(fields=["task", "-id"], name="observation_pinned", condition=models.Q(pinned=True)),
        ),
        migrations.AddIndex(
            model_name="observation",
            index=models.Index(
                fields=["task", "-id"], name="observation_important", condition=models.Q(importance__gte=0.7)
            ),
        ),
    ]
