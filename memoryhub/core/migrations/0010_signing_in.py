"""Signing in: delays and counts, who chose a password. A data key that is gone is no longer used for sealing.

Sign-in delays take the place of django-axes, whose tables hold names and addresses of failed sign-ins: they go, and
with them the mark that its migrations were applied, so that an older version of memoryhub would make them again.
"""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Now

AXES = """
drop table if exists axes_accessattemptexpiration, axes_accessattempt, axes_accessfailurelog, axes_accesslog;
delete from django_migrations where app = 'axes';
"""

DEMO = """
update actor set is_demo = true where username in ('sam', 'lee') and exists (
  select from membership m join team t on t.id = m.team_id where m.actor_id = actor.id and t.slug = 'demo')
"""

# How many addresses an hour are told apart for each kind; what comes from more is counted without an address. The commit
# does not wait for the disk: a count that a crash loses is worth less than a sign-in that waits.
RECORD = """
create function record_sign_in(happened text, who uuid, place text) returns void language plpgsql volatile security definer
set search_path = public, pg_temp as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  insert into signin_record (hour, kind, actor_id, address, times)
  select date_trunc('hour', statement_timestamp()), happened, who,
         case when (select count(*) from signin_record
                    where hour = date_trunc('hour', statement_timestamp()) and kind = happened) < 200
              then left(place, 60) else '' end, 1
  on conflict (hour, kind, actor_id, address)
  do update set times = signin_record.times + 1, last_at = statement_timestamp();
end $$;
create function prune_sign_ins(days int) returns void language sql volatile security definer
set search_path = public, pg_temp as $$
  delete from signin_record where hour < statement_timestamp() - make_interval(days => greatest(days, 30))
$$;
"""

# Sent with every sealed row, in its transaction. 57: the class of what is not available now (503).
REQUIRE = """
create function require_team_key(wanted int) returns void language plpgsql stable set search_path = public, pg_temp as $$
begin
  if not exists (select from team_key where id = wanted) then
    raise exception 'the data key is gone' using errcode = '57HUB';
  end if;
end $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0009_rights")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="actor",
            name="is_demo",
            field=models.BooleanField(
                db_default=False, default=False, help_text="Of the demo; keeps the first password."
            ),
        ),
        migrations.AddField(
            model_name="actor",
            name="password_origin",
            field=models.CharField(
                choices=[
                    ("own", "chosen by the person"),
                    ("given", "given by an administrator"),
                    ("generated", "made by first_run, and kept in a file"),
                ],
                db_default="own",
                default="own",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="outbox",
            name="handler",
            field=models.CharField(help_text="Its name in config.reactions.", max_length=120),
        ),
        migrations.CreateModel(
            name="SignInDelay",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField()),
                ("free_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "db_table": "signin_delay",
                "indexes": [models.Index(fields=["seen_at"], name="signin_delay_seen")],
            },
        ),
        migrations.CreateModel(
            name="SignInRecord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("sign_in", "signed in"),
                            ("failure", "wrong name or password"),
                            ("delay", "told to wait"),
                            ("sign_out", "signed out"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        blank=True,
                        help_text="An address, or the /64 of an IPv6 one. Empty: of many, beyond the bound.",
                        max_length=60,
                    ),
                ),
                ("times", models.PositiveIntegerField()),
                ("first_at", models.DateTimeField(db_default=Now())),
                ("last_at", models.DateTimeField(db_default=Now())),
                (
                    "actor",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "sign-in",
                "verbose_name_plural": "sign-ins",
                "db_table": "signin_record",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "kind", "actor", "address"), name="signin_record_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.RunSQL(DEMO, migrations.RunSQL.noop),
        migrations.RunSQL(AXES, migrations.RunSQL.noop),
        migrations.RunSQL(RECORD, "drop function record_sign_in(text, uuid, text); drop function prune_sign_ins(int)"),
        migrations.RunSQL(REQUIRE, "drop function require_team_key(int)"),
    ]
