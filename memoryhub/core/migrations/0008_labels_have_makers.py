"""Who has made a label, for their number of labels; and a version of a team's labels, so that a list of them can be kept."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

# For each row, since that is one upsert of a row that is in memory; the lock lasts until the label's own COMMIT, so that
# a version is never seen without its label.
VERSION = """
create function new_label_version() returns trigger language plpgsql security definer
set search_path = public, pg_temp as $$
begin
  insert into label_set (team_id, version) values (new.team_id, gen_random_uuid())
    on conflict (team_id) do update set version = excluded.version;
  return null;
end $$;
create trigger label_version after insert on label for each row execute function new_label_version();
insert into label_set (team_id, version) select team_id, gen_random_uuid() from label group by team_id;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0007_durable_before_it_is_answered")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="label",
            name="maker",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="core.membership",
            ),
        ),
        migrations.AddIndex(
            model_name="label",
            index=models.Index(condition=models.Q(("maker__isnull", False)), fields=["maker"], name="label_maker"),
        ),
        migrations.CreateModel(
            name="LabelSet",
            fields=[
                (
                    "team",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="core.team",
                    ),
                ),
                ("version", models.UUIDField()),
            ],
            options={"db_table": "label_set"},
        ),
        migrations.RunSQL(VERSION, "drop trigger label_version on label; drop function new_label_version()"),
    ]
