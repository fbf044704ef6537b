"""Events that no agent hears of: of what people write for each other."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import ACTOR, PEOPLE, SYSTEM, reading

OF_SOME = (
    f"(audience_id is null or audience_id = {ACTOR} or {SYSTEM})"
    f" and (recipients is null or {ACTOR} = any (recipients) or {SYSTEM})"
)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0012_policies_choose_no_index")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="event",
            name="people",
            field=models.BooleanField(db_default=False, default=False, help_text="No agent hears of it."),
        ),
        reading("event", f"{OF_SOME} and (not people or {PEOPLE})", OF_SOME),
    ]
