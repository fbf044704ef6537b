"""For /metrics, which belongs to no team: how many escalations are open, by state. Numbers, and nothing of any row."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

# The states of escalations.states.OPEN, so that the queue's partial index finds them among all that are closed.
OPEN = """
create function open_escalations() returns table (state varchar, many bigint, seconds double precision)
language sql stable security definer set search_path = public, pg_temp as $$
  select e.state, count(*), extract(epoch from statement_timestamp() - min(e.created_at))::double precision
  from escalation e where e.state in ('queued', 'claimed', 'waiting', 'resolved') group by e.state
$$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("escalations", "0003_a_note_has_its_requests_ref")]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(OPEN, "drop function open_escalations()")]
