"""Alerts, and to whom each was sent."""

from typing import ClassVar

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import memoryhub.core.ids
from memoryhub.core.access.rls import ACTOR, SYSTEM, label_key, policies

# An alert is its author's and its recipients'; who administers the team may open them all (memory.admin).
ADDRESSED = (
    f"author_id = {ACTOR} or {ACTOR} = any (recipients) or {SYSTEM}"
    " or (select coalesce(current_setting('hub.opened_alerts', true), '') = 'on')"
)
# Through the alert's own policy: whoever may not see the alert sees nothing of to whom it was sent, and a recipient
# nothing of the others.
DELIVERIES = f"""
alter table alert_recipient enable row level security;
create policy alert_recipient_read on alert_recipient for select using (
    exists (select from alert a where a.id = alert_id and (member_id = {ACTOR} or a.author_id = {ACTOR} or {SYSTEM})));
create policy alert_recipient_make on alert_recipient for insert with check (
    exists (select from alert a where a.id = alert_id and a.author_id = {ACTOR} and member_id = any (a.recipients)));
create policy alert_recipient_change on alert_recipient for update
    using (member_id = {ACTOR}) with check (member_id = {ACTOR});
"""
DELIVERIES_GONE = """
drop policy alert_recipient_read on alert_recipient;
drop policy alert_recipient_make on alert_recipient;
drop policy alert_recipient_change on alert_recipient;
alter table alert_recipient disable row level security;
"""


def reference(to: str, **options: object) -> models.Field:
    return models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to=to, **options)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("memory", "0005_decisions_change_and_learnings"),
        ("core", "0005_feed_floor"),
    ]

    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "sensitivity",
                    models.SmallIntegerField(choices=[(0, "public"), (1, "internal"), (2, "confidential")]),
                ),
                ("body", models.JSONField(null=True)),
                ("sealed", models.BinaryField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")],
                        default="info",
                        max_length=10,
                    ),
                ),
                (
                    "recipients",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None),
                ),
                ("expires_at", models.DateTimeField(null=True)),
                ("client_ref", models.CharField(max_length=200, null=True)),
                ("author", reference("core.membership", related_name="+")),
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
                ("label", reference("core.label", db_constraint=False, related_name="+")),
                ("task", reference("memory.task", null=True, related_name="+")),
                ("team", reference("core.team", db_constraint=False, related_name="+")),
            ],
            options={
                "db_table": "alert",
                "abstract": False,
                "indexes": [models.Index(fields=["author", "-id"], name="alert_of_author")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("body__isnull", True), ("sealed__isnull", False), ("sensitivity", 2)),
                            models.Q(("body__isnull", False), ("sealed__isnull", True), ("sensitivity__lt", 2)),
                            _connector="OR",
                        ),
                        name="alert_sealed_if_confidential",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("client_ref__isnull", False)),
                        fields=("author", "label", "client_ref"),
                        name="alert_client_ref",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("recipients", []), _negated=True), name="alert_has_recipients"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertRecipient",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("event_id", models.UUIDField(null=True)),
                ("alert", reference("memory.alert", related_name="deliveries")),
                ("member", reference("core.membership", related_name="+")),
            ],
            options={
                "db_table": "alert_recipient",
                "indexes": [
                    models.Index(fields=["member", "-alert"], name="alert_of_member"),
                    models.Index(
                        condition=models.Q(("acknowledged_at__isnull", True)),
                        fields=["member", "-alert"],
                        name="alert_open_of_member",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("alert", "member"), name="alert_recipient_once"),
                ],
            },
        ),
        label_key("alert"),
        policies("alert", also=ADDRESSED),
        migrations.RunSQL(DELIVERIES, DELIVERIES_GONE),
    ]
