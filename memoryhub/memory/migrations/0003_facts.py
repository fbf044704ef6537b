"""Facts and their versions, with both locks; what is withheld from a person counts them, too."""

from importlib import import_module
from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import memoryhub.core.ids
from memoryhub.core.access.rls import label_key, policies

BEFORE = import_module("memoryhub.memory.migrations.0002_row_level_security").WITHHELD

# Of a fact counts the version that was its newest then: whose successor was not there yet.
WITHHELD = """
create function withheld(task uuid, up_to bigint) returns bigint language sql stable security definer
set search_path = public, pg_temp as $$
  -- Nothing to count where every label of the team is visible, which is the usual case.
  select count(*) from (
    select event_id, label_id from observation o
      where o.task_id = withheld.task and o.team_id = nullif(current_setting('hub.team', true), '')::int
        and not o.private
    union all
    select event_id, label_id from decision d
      where d.task_id = withheld.task and d.team_id = nullif(current_setting('hub.team', true), '')::int
    union all
    select event_id, label_id from fact_version v
      where v.task_id = withheld.task and v.team_id = nullif(current_setting('hub.team', true), '')::int
        and not v.deleted and not exists (
          select from fact_version n join event_seq s on s.event_id = n.event_id
          where n.fact_id = v.fact_id and n.version = v.version + 1 and s.seq <= withheld.up_to)
  ) r join event_seq s on s.event_id = r.event_id
  where s.seq <= withheld.up_to
    and exists (select from label l where l.team_id = nullif(current_setting('hub.team', true), '')::int
                and l.id <> all (coalesce(nullif(current_setting('hub.labels', true), '')::int[], '{}')))
    and r.label_id <> all (coalesce(nullif(current_setting('hub.labels', true), '')::int[], '{}'))
$$;
"""
DROP = "drop function withheld(uuid, bigint)"


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("core", "0003_ledger_without_foreign_keys"),
        ("memory", "0002_row_level_security"),
    ]

    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="Fact",
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
                ("version", models.IntegerField()),
                ("deleted", models.BooleanField(default=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("valid_from", models.DateTimeField(null=True)),
                ("valid_to", models.DateTimeField(null=True)),
                ("client_ref", models.CharField(max_length=200, null=True)),
                ("key", models.CharField(db_collation="C", max_length=200)),
                ("changed_at", models.DateTimeField()),
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
                    "clock",
                    models.ForeignKey(
                        db_column="event_id",
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="core.eventseq",
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
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="memory.task",
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
                "db_table": "fact",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="FactVersion",
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
                ("version", models.IntegerField()),
                ("deleted", models.BooleanField(default=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("valid_from", models.DateTimeField(null=True)),
                ("valid_to", models.DateTimeField(null=True)),
                ("client_ref", models.CharField(max_length=200, null=True)),
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
                    "clock",
                    models.ForeignKey(
                        db_column="event_id",
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="core.eventseq",
                    ),
                ),
                (
                    "fact",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="memory.fact",
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
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="memory.task",
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
                "db_table": "fact_version",
                "abstract": False,
            },
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(fields=["team", "key", "id"], name="fact_by_key"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(
                condition=models.Q(("task__isnull", False)), fields=["task", "key", "id"], name="fact_of_task"
            ),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("body__isnull", True), ("sealed__isnull", False), ("sensitivity", 2)),
                    models.Q(("body__isnull", False), ("sealed__isnull", True), ("sensitivity__lt", 2)),
                    _connector="OR",
                ),
                name="fact_sealed_if_confidential",
            ),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.CheckConstraint(condition=models.Q(("version__gte", 1)), name="fact_version_counts"),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from__isnull", True),
                    ("valid_to__isnull", True),
                    ("valid_from__lt", models.F("valid_to")),
                    _connector="OR",
                ),
                name="fact_valid_for_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.UniqueConstraint(fields=("team", "label", "key"), name="fact_key"),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=models.Index(
                condition=models.Q(("task__isnull", False)),
                fields=["task", "fact", "version"],
                name="fact_version_of_task",
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("body__isnull", True), ("sealed__isnull", False), ("sensitivity", 2)),
                    models.Q(("body__isnull", False), ("sealed__isnull", True), ("sensitivity__lt", 2)),
                    _connector="OR",
                ),
                name="factversion_sealed_if_confidential",
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("version__gte", 1)), name="factversion_version_counts"
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from__isnull", True),
                    ("valid_to__isnull", True),
                    ("valid_from__lt", models.F("valid_to")),
                    _connector="OR",
                ),
                name="factversion_valid_for_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.UniqueConstraint(fields=("fact", "version"), name="fact_version_once"),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("client_ref__isnull", False)),
                fields=("author", "label", "client_ref"),
                name="fact_version_client_ref",
            ),
        ),
        label_key("fact"),
        label_key("fact_version"),
        policies("fact"),
        policies("fact_version"),
        migrations.RunSQL([DROP, WITHHELD], [DROP, BEFORE]),
    ]
