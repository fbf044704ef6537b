"""A fact's row keeps room for its next versions, and no index holds what changes with each of them."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation


def without_index() -> "models.ForeignKey[object, object]":
    return models.ForeignKey(
        db_column="event_id",
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to="core.eventseq",
    )


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0009_search_vectors"), ("core", "0005_feed_floor")]

    operations: ClassVar[list[Operation]] = [
        migrations.AlterField("fact", "clock", without_index()),
        migrations.AlterField("factversion", "clock", without_index()),
        migrations.RunSQL("alter table fact set (fillfactor = 60)", "alter table fact reset (fillfactor)"),
    ]
