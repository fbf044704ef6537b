"""The roll-up of the insights, week by week and label by label (ADR 19). Derived: going back loses nothing."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.deletion import DO_NOTHING

from memoryhub.core.access.rls import TEAM, policies, team_as_filter

TABLES = """
create table insight_tally (
    id uuid primary key,
    team_id int not null,
    label_id int not null,
    week date not null,
    member_id uuid not null,
    measure text collate "C" not null,
    next_own date not null,
    next_any date not null,
    number int not null,
    spans float8[] not null
);
create index insight_tally_of_week on insight_tally (team_id, week);
-- Times do not compress, and trying costs with each change of a tally.
alter table insight_tally alter column spans set storage external;
create table insight_entry (
    team_id int not null,
    label_id int not null,
    task_id uuid not null,
    tally_id uuid,
    span float8
);
-- A task's entries are replaced when it changes; those of a tally are counted then.
create index insight_entry_of_task on insight_entry (task_id);
create index insight_entry_of_tally on insight_entry (tally_id) where tally_id is not null;
-- Every answer computes these tasks itself.
create index insight_entry_apart on insight_entry (team_id) where tally_id is null;
create table insight_state (team_id int primary key references team (id), seq bigint not null);
"""
NO_TABLES = "drop table insight_state, insight_entry, insight_tally"

STATE = f"""
alter table insight_state enable row level security;
create policy insight_state_all on insight_state using (team_id = {TEAM}) with check (team_id = {TEAM});
"""
NO_STATE = "drop policy insight_state_all on insight_state; alter table insight_state disable row level security"

# The teams whose ledger is ahead of their roll-up. It runs as the owner, since no viewer may see all teams.
BEHIND = """
create function insight_behind() returns setof int language sql stable security definer
set search_path = public, pg_temp as $$
  select t.id from team t left join insight_state s on s.team_id = t.id
  where coalesce((select e.seq from event_seq e where e.team_id = t.id order by e.seq desc limit 1), 0)
        > coalesce(s.seq, 0)
$$;
"""

_OWN: dict[str, object] = {"on_delete": DO_NOTHING, "related_name": "+", "db_index": False}


def _table(name: str, *fields: tuple[str, models.Field]) -> migrations.CreateModel:
    options = {"db_table": f"insight_{name}", "managed": False}
    return migrations.CreateModel(name=f"Insight{name.capitalize()}", fields=list(fields), options=options)


def _key(to: str) -> models.Field:
    return models.OneToOneField(to=to, primary_key=True, serialize=False, on_delete=DO_NOTHING, related_name="+")


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("escalations", "0011_every_version_has_its_event")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(TABLES, NO_TABLES),
        policies("insight_tally"),
        policies("insight_entry"),
        team_as_filter("insight_tally", "insight_entry"),
        migrations.RunSQL(STATE, NO_STATE),
        migrations.RunSQL(BEHIND, "drop function insight_behind()"),
        _table(
            "tally",
            ("id", models.UUIDField(primary_key=True, serialize=False)),
            ("team", models.ForeignKey(to="core.team", **_OWN)),
            ("label", models.ForeignKey(to="core.label", **_OWN)),
            ("week", models.DateField(help_text="Its Monday, in UTC.")),
            ("member", models.ForeignKey(to="core.membership", **_OWN)),
            ("measure", models.TextField()),
            ("next_own", models.DateField()),
            ("next_any", models.DateField()),
            ("number", models.IntegerField()),
            ("spans", ArrayField(models.FloatField())),
        ),
        _table(
            "entry",
            ("task", _key("memory.task")),
            ("team", models.ForeignKey(to="core.team", **_OWN)),
            ("label", models.ForeignKey(to="core.label", **_OWN)),
            ("tally", models.ForeignKey(to="escalations.insighttally", null=True, **_OWN)),
            ("span", models.FloatField(null=True)),
        ),
        _table("state", ("team", _key("core.team")), ("seq", models.BigIntegerField())),
    ]
