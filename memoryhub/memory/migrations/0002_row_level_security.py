"""The second lock on the memory: row-level security, and the key that holds a row's copy of its label's level."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import ACTOR, label_key, policies

# A private observation is its author's; the person who holds the claim may open those of the task (recorded).
PRIVATE = (
    f"not private or author_id = {ACTOR}"
    " or task_id = (select nullif(current_setting('hub.opened_task', true), '')::uuid)"
)

# How many rows of a task a viewer is not shown, up to a seq. Runs as the owner, whom row-level security exempts,
# and answers for the viewer's own team only. Private rows are nobody's loss and are not counted.
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
  ) r join event_seq s on s.event_id = r.event_id
  where s.seq <= withheld.up_to
    and exists (select from label l where l.team_id = nullif(current_setting('hub.team', true), '')::int
                and l.id <> all (coalesce(nullif(current_setting('hub.labels', true), '')::int[], '{}')))
    and r.label_id <> all (coalesce(nullif(current_setting('hub.labels', true), '')::int[], '{}'))
$$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("memory", "0001_initial"),
        ("core", "0002_ledger_clock_and_row_level_security"),
    ]

    operations: ClassVar[list[Operation]] = [
        label_key("task"),
        label_key("observation"),
        label_key("decision"),
        policies("task"),
        policies("observation", also=PRIVATE),
        policies("decision"),
        migrations.RunSQL(WITHHELD, "drop function withheld(uuid, bigint)"),
    ]
