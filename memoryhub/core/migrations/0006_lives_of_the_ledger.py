"""Lives: a ledger that was given another history (promotion, restore, copy) numbers on where no number was given (ADR 10)."""

from importlib import import_module
from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

_clock = import_module("memoryhub.core.migrations.0002_ledger_clock_and_row_level_security")
_length = import_module("memoryhub.core.migrations.0004_the_length_of_all_ledgers")

TIMELINE = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
# Of a dump that was restored the cluster or, in the same cluster, the table is another one.
SYSTEM = "(select system_identifier from pg_control_system()) || '/' || 'public.event'::regclass::oid"

# `from_seq`: up to which the lives before are kept, the fork. A life's first number is ordinal x 2^40 + 1.
TABLE = f"""
create table ledger_life (
    team_id int not null,
    ordinal int not null,
    timeline text not null,
    system text not null,
    from_seq bigint not null,
    at timestamptz not null default statement_timestamp(),
    primary key (team_id, ordinal)
);
insert into ledger_life (team_id, ordinal, timeline, system, from_seq) select id, 0, {TIMELINE}, {SYSTEM}, 0 from team;
"""

# The life that a team's next event is of: another than the newest one as soon as the server is on another timeline,
# before anything is written there. Timelines differ where a ledger was forked twice, so their distance is kept.
NOW = f"""
create function ledger_life_now(of_team int) returns int language plpgsql stable as $$
declare
  last record;
  timeline text;
begin
  select l.ordinal, l.timeline into last from public.ledger_life l
    where l.team_id = of_team order by l.ordinal desc limit 1;
  if pg_is_in_recovery() then
    return coalesce(last.ordinal, 0);
  end if;
  timeline := {TIMELINE};
  if last.timeline = timeline then
    return last.ordinal;
  end if;
  return coalesce(last.ordinal + greatest(1, ('x' || timeline)::bit(32)::int - ('x' || last.timeline)::bit(32)::int), 0);
end $$;
"""

# Of every team, for the mark (core.ledger.mark), which belongs to none. Numbers, and nothing of any event.
HEADS = f"""
create function ledger_heads() returns table (team int, head bigint, ordinal int, life int, is_moved bool)
language sql stable security definer set search_path = public, pg_temp as $$
  select l.team_id, coalesce((select s.seq from event_seq s where s.team_id = l.team_id order by s.seq desc limit 1), 0),
         l.ordinal, ledger_life_now(l.team_id), l.system <> {SYSTEM}
  from (select distinct on (team_id) team_id, ordinal, system from ledger_life order by team_id, ordinal desc) l
$$;
"""

BEGIN = f"""
create function begin_life(of_team int, at_least int) returns int language plpgsql security definer
set search_path = public, pg_temp as $$
declare
  made int;
begin
  if of_team is distinct from nullif(current_setting('hub.team', true), '')::int then
    raise exception 'one transaction writes one team''s ledger' using errcode = '0A000';
  end if;
  perform pg_advisory_xact_lock(7077, of_team);
  insert into ledger_life (team_id, ordinal, timeline, system, from_seq)
    select of_team,
           greatest(at_least, ledger_life_now(of_team),
                    1 + (select max(ordinal) from ledger_life where team_id = of_team)),
           {TIMELINE}, {SYSTEM},
           coalesce((select seq from event_seq where team_id = of_team order by seq desc limit 1), 0)
    returning ordinal into made;
  return made;
end $$;
"""

# As before (ADR 1), but for the life.
NUMBER = f"""
create or replace function number_at_commit() returns trigger language plpgsql security definer
set search_path = public, pg_temp as $$
begin
  if new.team_id is distinct from nullif(current_setting('hub.team', true), '')::int then
    raise exception 'one transaction writes one team''s ledger' using errcode = '0A000';
  end if;
  perform pg_advisory_xact_lock(7077, new.team_id);
  loop
    insert into event_seq (team_id, seq, event_id)
      select new.team_id,
             1 + greatest(l.ordinal::bigint << 40,
                          (select seq from event_seq where team_id = new.team_id order by seq desc limit 1)),
             new.id
      from (select ordinal, timeline from ledger_life where team_id = new.team_id order by ordinal desc limit 1) l
      where l.timeline = {TIMELINE};
    exit when found;
    perform begin_life(new.team_id, 0);
  end loop;
  perform set_config('synchronous_commit', 'off', true);
  return null;
end $$;
"""
NUMBER_AS_BEFORE = _clock.NUMBER.partition("create constraint trigger")[0].replace("create", "create or replace", 1)

# Events, not numbers: each life is dense.
LENGTH = """
create or replace function ledger_length() returns bigint language sql stable security definer
set search_path = public, pg_temp as $$
  select coalesce(sum(greatest(0, ends - (ordinal::bigint << 40))), 0)::bigint from (
    select l.ordinal, coalesce(
      lead(l.from_seq) over (partition by l.team_id order by l.ordinal),
      (select s.seq from event_seq s where s.team_id = l.team_id order by s.seq desc limit 1)) as ends
    from ledger_life l) lives
$$;
"""
LENGTH_AS_BEFORE = _length.LENGTH.replace("create", "create or replace", 1)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0005_feed_floor")]

    operations: ClassVar[list[Operation]] = [
        migrations.CreateModel(
            name="LedgerLife",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "team_id", "ordinal", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("team_id", models.IntegerField()),
                ("ordinal", models.IntegerField()),
                ("timeline", models.TextField()),
                ("system", models.TextField()),
                ("from_seq", models.BigIntegerField()),
                ("at", models.DateTimeField()),
            ],
            options={"db_table": "ledger_life", "managed": False},
        ),
        migrations.RunSQL(TABLE, "drop table ledger_life"),
        migrations.RunSQL(NOW, "drop function ledger_life_now(int)"),
        migrations.RunSQL(HEADS, "drop function ledger_heads()"),
        migrations.RunSQL(BEGIN, "drop function begin_life(int, int)"),
        migrations.RunSQL(NUMBER, NUMBER_AS_BEFORE),
        migrations.RunSQL(LENGTH, LENGTH_AS_BEFORE),
    ]
