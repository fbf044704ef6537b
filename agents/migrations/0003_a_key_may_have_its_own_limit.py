"""A key may have a limit of requests of its own."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("agents", "0002_a_key_may_be_replaced")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="apikey",
            name="rate_limit",
            field=models.PositiveIntegerField(
                blank=True, help_text="Requests a minute; empty: as RATE_LIMIT_PER_MINUTE says.", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("rate_limit__range", (1, 6_000_000))), name="api_key_rate_limit"
            ),
        ),
    ]
