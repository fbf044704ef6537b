"""Rows of before 0008 get the event of their version, too: the queue shows it as the last event."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

_FILL = """
update escalation e set change_id = (
    select x.id from event x
    where x.task_id = e.task_id and x.row_id = e.id and x.row_type = 'escalation'
      and x.type not in ('escalation.escalate', 'escalation.note')
    order by x.id desc limit 1)
where e.change_id is null and e.version > 1
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("escalations", "0010_what_people_say_is_memory")]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(_FILL, migrations.RunSQL.noop)]
