"""Where PostgreSQL has synchronous standbys, they have what is answered, too (ADR 11); and a sign of the worker's life."""

from importlib import import_module
from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.functions import Now

BEFORE = import_module("memoryhub.core.migrations.0002_ledger_clock_and_row_level_security").SETTLE

# Makes the log durable up to here. Without standbys: one flush, shared by all who wait. With them: a message that belongs
# to this transaction, whose own COMMIT then waits for the standby; the one that numbered the event, and held the team's
# lock, did not. On a standby there is nothing to wait for: what it has was sent to it.
WAIT = """
create function wait_for_log() returns void language plpgsql volatile security definer
set search_path = public, pg_temp as $$
begin
  if pg_is_in_recovery() then
    return;
  elsif current_setting('synchronous_standby_names') = '' then
    perform pg_logical_emit_message(false, '', '', true);
  else
    perform set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, '', '');
  end if;
end $$;
"""
SETTLE = """
create or replace function settle(e uuid) returns bigint language plpgsql volatile security definer
set search_path = public, pg_temp as $$
begin
  perform wait_for_log();
  return (select s.seq from event_seq s where s.event_id = e);
end $$;
"""
# The same for those who read, whose patience is shorter. `known`: the last `seq` that the caller knows to be durable.
READERS = """
create function settle_read() returns void language plpgsql volatile security definer
set search_path = public, pg_temp as $$
begin
  perform wait_for_log();
end $$;
create function settle_head(team int, known bigint) returns bigint language plpgsql volatile security definer
set search_path = public, pg_temp as $$
declare head bigint := coalesce(
  (select s.seq from event_seq s where s.team_id = settle_head.team order by s.seq desc limit 1), 0);
begin
  if head is distinct from known then
    perform settle_read();
  end if;
  return head;
end $$;
"""
NO_READERS = "drop function settle_head(int, bigint); drop function settle_read()"


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0006_lives_of_the_ledger")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(WAIT, "drop function wait_for_log()"),
        migrations.RunSQL(SETTLE, BEFORE.replace("create function", "create or replace function")),
        migrations.RunSQL(READERS, NO_READERS),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("part", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "heartbeat"},
        ),
        migrations.RunSQL("insert into heartbeat (part) values ('worker')", migrations.RunSQL.noop),
    ]
