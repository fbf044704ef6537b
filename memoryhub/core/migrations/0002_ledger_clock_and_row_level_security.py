"""What the ledger's promise rests on: seq in commit order, given inside COMMIT (ADR 1), and row-level security."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import ACTOR, SYSTEM, TEAM, policies

CLOCK = """
create table event_seq (
    team_id int not null references team (id),
    seq bigint not null,
    event_id uuid not null unique references event (id),
    primary key (team_id, seq) include (event_id)
);
alter table event_seq enable row level security;
"""

# The class of the advisory lock; its second key is the team. Taken inside COMMIT only, so no client holds it.
NUMBER = """
create function number_at_commit() returns trigger language plpgsql security definer
set search_path = public, pg_temp as $$
begin
  if new.team_id is distinct from nullif(current_setting('hub.team', true), '')::int then
    raise exception 'one transaction writes one team''s ledger' using errcode = '0A000';
  end if;
  perform pg_advisory_xact_lock(7077, new.team_id);
  insert into event_seq (team_id, seq, event_id)
    select new.team_id,
           1 + coalesce((select seq from event_seq where team_id = new.team_id order by seq desc limit 1), 0),
           new.id;
  perform set_config('synchronous_commit', 'off', true);
  return null;
end $$;
create constraint trigger zz_number after insert on event deferrable initially deferred
  for each row execute function number_at_commit();
"""

# Flushes the WAL up to here, one flush shared by all who wait. Materialized, so that it happens once and first: as a
# condition beside the look-up, a sequential scan of a small ledger would flush once a row.
SETTLE = """
create function settle(e uuid) returns bigint language sql volatile security definer
set search_path = public, pg_temp as $$
  with flushed as materialized (select pg_logical_emit_message(false, '', '', true))
  select s.seq from flushed, event_seq s where s.event_id = e
$$;
"""

# The installation's own team, and the one actor that works in the background of every team.
ITSELF = """
with t as (insert into team (slug, name, tell_withheld, acknowledge_hours)
           values ('system', 'System', true, 24) returning id),
     a as (insert into actor (id, username, email, kind, password, is_active, is_staff, is_superuser)
           values ('00000000-0000-7000-8000-000000000001', 'system', '', 'system', '!', true, false, false)
           returning id)
insert into membership (id, actor_id, team_id, name, role, clearance, compartments, is_active)
select '00000000-0000-7000-8000-000000000002', a.id, t.id, 'memoryhub', 'system', 2, '{}', true from a, t;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0001_initial")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(CLOCK, "drop table event_seq"),
        migrations.RunSQL(
            f"create policy event_seq_read on event_seq for select using (team_id = {TEAM})",
            "drop policy event_seq_read on event_seq",
        ),
        migrations.RunSQL(NUMBER, "drop trigger zz_number on event; drop function number_at_commit()"),
        migrations.RunSQL(SETTLE, "drop function settle(uuid)"),
        policies("event", also=f"audience_id is null or audience_id = {ACTOR} or {SYSTEM}"),
        policies("access_log"),
        migrations.RunSQL(ITSELF, migrations.RunSQL.noop),
    ]
