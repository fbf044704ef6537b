"""The feed's floor, below which nobody resumes, and events that only some members hear of."""

from typing import ClassVar

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import ACTOR, LABELS, SYSTEM, TEAM

READ = """
drop policy event_read on event;
create policy event_read on event for select using (team_id = {} and label_id = any {} and ({}));
"""
OF_ONE = f"(audience_id is null or audience_id = {ACTOR} or {SYSTEM})"
OF_SOME = f"(recipients is null or {ACTOR} = any (recipients) or {SYSTEM})"


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0004_the_length_of_all_ledgers")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="event",
            name="recipients",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), null=True, size=None),
        ),
        migrations.AddField(
            model_name="team",
            name="feed_days",
            field=models.PositiveSmallIntegerField(
                db_default=30,
                default=30,
                help_text="A reader of the feed who is further behind than these days starts afresh.",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="feed_floor",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="The feed resumes at this seq or later; pruning raises it.",
            ),
        ),
        migrations.RunSQL(
            READ.format(TEAM, LABELS, f"{OF_ONE} and {OF_SOME}"),
            READ.format(TEAM, LABELS, OF_ONE),
        ),
    ]
