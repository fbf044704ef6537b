"""What people write and have not sent: readable by its author alone."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.migrations.operations import RunSQL

from memoryhub.core.access.rls import ACTOR, LABELS, SYSTEM, TEAM, label_key

# The system's own viewer removes old ones. It has no key to a text that is not told to it, and reads none.
MINE = f"team_id = {TEAM} and label_id = any {LABELS} and author_id = {ACTOR}"
OURS = f"({MINE}) or (team_id = {TEAM} and {SYSTEM})"

POLICIES = RunSQL(
    f"""
alter table escalation_draft enable row level security;
create policy escalation_draft_read on escalation_draft for select using ({OURS});
create policy escalation_draft_make on escalation_draft for insert with check ({MINE});
create policy escalation_draft_change on escalation_draft for update using ({MINE}) with check ({MINE});
create policy escalation_draft_drop on escalation_draft for delete using ({OURS})""",
    """
drop policy escalation_draft_read on escalation_draft;
drop policy escalation_draft_make on escalation_draft;
drop policy escalation_draft_change on escalation_draft;
drop policy escalation_draft_drop on escalation_draft;
alter table escalation_draft disable row level security""",
)


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0005_feed_floor"),
        ("escalations", "0006_an_answer_may_be_withdrawn"),
    ]

    operations = [
        migrations.CreateModel(
            name="Draft",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        editable=False,
                        help_text="Made of author, escalation and form.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "sensitivity",
                    models.SmallIntegerField(choices=[(0, "public"), (1, "internal"), (2, "confidential")]),
                ),
                ("body", models.JSONField(null=True)),
                ("sealed", models.BinaryField(null=True)),
                ("form", models.CharField(max_length=20)),
                ("kept_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "author",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.membership",
                    ),
                ),
                (
                    "escalation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="escalations.escalation",
                    ),
                ),
                (
                    "label",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.label",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.team",
                    ),
                ),
            ],
            options={
                "db_table": "escalation_draft",
                "indexes": [models.Index(fields=["team", "kept_at"], name="escalation_draft_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("author", "escalation", "form"), name="escalation_draft_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("body__isnull", True), ("sealed__isnull", False), ("sensitivity", 2)),
                            models.Q(("body__isnull", False), ("sealed__isnull", True), ("sensitivity__lt", 2)),
                            _connector="OR",
                        ),
                        name="draft_sealed_if_confidential",
                    ),
                ],
            },
        ),
        label_key("escalation_draft"),
        POLICIES,
    ]
