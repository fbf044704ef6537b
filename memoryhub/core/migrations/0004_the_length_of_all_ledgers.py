"""For /metrics, which belongs to no team: how many events there are in all. A number, and nothing of any event."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

# `seq` is dense, so a team's last one is its number of events; an index look-up a team.
LENGTH = """
create function ledger_length() returns bigint language sql stable security definer
set search_path = public, pg_temp as $$
  select coalesce(sum((select s.seq from event_seq s where s.team_id = t.id order by s.seq desc limit 1)), 0)::bigint
  from team t
$$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0003_ledger_without_foreign_keys")]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(LENGTH, "drop function ledger_length()")]
