"""An answer that never left may be withdrawn, and another given; what a member holds, and has asked, is found by index."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

OPEN = ["queued", "claimed", "waiting", "resolved"]


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("core", "0011_who_may_change_decisions_and_work_on_what"),
        ("escalations", "0005_an_index_for_insights"),
    ]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="answer",
            name="withdrawn_at",
            field=models.DateTimeField(help_text="It was never sent, and another one may be given.", null=True),
        ),
        migrations.RemoveConstraint(model_name="answer", name="escalation_answer_once"),
        migrations.AddConstraint(
            model_name="answer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("withdrawn_at__isnull", True)),
                fields=("escalation", "round"),
                name="escalation_answer_once",
            ),
        ),
        migrations.AddIndex(
            model_name="answer",
            index=models.Index(
                condition=models.Q(("withdrawn_at__isnull", False)),
                fields=["escalation"],
                name="escalation_answer_withdrawn",
            ),
        ),
        migrations.RemoveIndex(model_name="escalation", name="escalation_owner"),
        migrations.AddIndex(
            model_name="escalation",
            index=models.Index(
                condition=models.Q(("state__in", ["claimed", "waiting", "resolved"])),
                fields=["owner"],
                name="escalation_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="escalation",
            index=models.Index(
                condition=models.Q(("state__in", OPEN)), fields=["author", "priority"], name="escalation_author"
            ),
        ),
        # Back to where a round has one answer: what was never sent goes.
        migrations.RunSQL(migrations.RunSQL.noop, "delete from escalation_answer where withdrawn_at is not null"),
    ]
