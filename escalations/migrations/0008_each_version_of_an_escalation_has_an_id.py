"""An escalation's version is told from one of the same number in another history of the ledger (ADR 10)."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("escalations", "0007_drafts")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(model_name="escalation", name="change_id", field=models.UUIDField(null=True)),
    ]
