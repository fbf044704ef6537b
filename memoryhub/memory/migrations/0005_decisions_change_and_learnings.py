"""Decisions are superseded, revoked and judged; learnings, and the keys that they are found by."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Now

from memoryhub.core.access.rls import LABELS, label_key, policies
from memoryhub.core.ids import new_id

# A label says which team it is of, so the key needs no other column, and a scan of it need not look into the table.
# No foreign keys: a learning's keys are written and removed with it, by the same function (memory.actions.learnings).
KEYS = f"""
create table learning_key (
  label_id int not null, token bigint not null, learning_id uuid not null, primary key (label_id, token, learning_id)
);
alter table learning_key enable row level security;
create policy learning_key_read on learning_key for select using (label_id = any {LABELS});
create policy learning_key_make on learning_key for insert with check (label_id = any {LABELS});
create policy learning_key_drop on learning_key for delete using (label_id = any {LABELS});
"""


def reference(to: str, **options: object) -> models.Field:
    made = {"on_delete": django.db.models.deletion.PROTECT, "related_name": "+", "db_index": False, **options}
    return models.ForeignKey(to=to, **made)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("memory", "0004_leases_and_expiries_are_swept"),
        ("core", "0003_ledger_without_foreign_keys"),
    ]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField("decision", "supersedes", models.UUIDField(null=True)),
        migrations.AddField(
            "decision",
            "outcome",
            models.CharField(choices=[("worked", "Worked"), ("failed", "Failed")], max_length=10, null=True),
        ),
        migrations.AddField("decision", "text_version", models.IntegerField(default=1)),
        migrations.AddConstraint(
            "decision",
            models.UniqueConstraint(
                fields=["supersedes"], name="decision_supersedes", condition=models.Q(supersedes__isnull=False)
            ),
        ),
        migrations.CreateModel(
            "Learning",
            fields=[
                ("id", models.UUIDField(default=new_id, editable=False, primary_key=True, serialize=False)),
                (
                    "sensitivity",
                    models.SmallIntegerField(choices=[(0, "public"), (1, "internal"), (2, "confidential")]),
                ),
                ("body", models.JSONField(null=True)),
                ("sealed", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField(db_default=Now(), editable=False)),
                (
                    "signal_type",
                    models.CharField(
                        choices=[
                            ("success", "Success"),
                            ("failure", "Failure"),
                            ("pattern", "Pattern"),
                            ("recommendation", "Recommendation"),
                        ],
                        max_length=20,
                    ),
                ),
                ("source", models.UUIDField(null=True)),
                ("client_ref", models.CharField(max_length=200, null=True)),
                ("text_version", models.IntegerField(default=1)),
                ("author", reference("core.membership")),
                (
                    "clock",
                    models.ForeignKey(
                        db_column="event_id",
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="core.eventseq",
                    ),
                ),
                ("label", reference("core.label", db_constraint=False)),
                ("task", reference("memory.task", null=True, related_name="learnings")),
                ("team", reference("core.team", db_constraint=False)),
            ],
            options={
                "db_table": "learning",
                "abstract": False,
                "indexes": [
                    models.Index(
                        fields=["task", "-id"], name="learning_of_task", condition=models.Q(task__isnull=False)
                    ),
                    models.Index(fields=["team", "-id"], name="learning_of_team"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        name="learning_sealed_if_confidential",
                        condition=models.Q(sensitivity=2, sealed__isnull=False, body__isnull=True)
                        | models.Q(sensitivity__lt=2, sealed__isnull=True, body__isnull=False),
                    ),
                    models.UniqueConstraint(
                        fields=["source"], name="learning_source", condition=models.Q(source__isnull=False)
                    ),
                    models.UniqueConstraint(
                        fields=["author", "label", "client_ref"],
                        name="learning_client_ref",
                        condition=models.Q(client_ref__isnull=False),
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            "LearningKey",
            fields=[
                (
                    "learning",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="memory.learning",
                    ),
                ),
                ("token", models.BigIntegerField()),
            ],
            options={"db_table": "learning_key", "managed": False},
        ),
        label_key("learning"),
        policies("learning"),
        migrations.RunSQL(KEYS, "drop table learning_key"),
    ]
