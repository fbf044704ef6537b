"""What the insights count, by team and time: the ledger without what is logged all day, which pays nothing for it."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

# Ids are ordered by time. The words are those of escalations.reports.insights: a partial index serves a query that asks for
# some of them.
INDEX = """
create index event_of_work on event (team_id, id) where type in ('task.create', 'task.claim', 'task.complete',
  'task.fail', 'task.reopen', 'decision.supersede', 'decision.revoke', 'escalation.escalate', 'escalation.claim',
  'escalation.decide', 'escalation.finish', 'escalation.cancel', 'escalation.expire')
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("core", "0003_ledger_without_foreign_keys"),
        ("escalations", "0004_how_many_are_open"),
    ]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(INDEX, "drop index event_of_work")]
