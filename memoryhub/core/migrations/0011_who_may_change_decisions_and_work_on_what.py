"""A team's rule for decisions of others; and whether a member may work on what has a label, as their rights are now."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

# As the roles of core.access.permissions.DESK. What somebody holds stands only as long as this holds.
MAY_WORK_ON = """
create function may_work_on(member uuid, of_label int) returns boolean language sql stable as $$
  select exists (
    select from membership m join actor a on a.id = m.actor_id join label l on l.id = of_label and l.team_id = m.team_id
    where m.id = member and m.is_active and a.is_active and m.role in ('support', 'lead', 'admin')
      and m.clearance >= l.sensitivity and m.compartments @> l.compartments)
$$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0010_signing_in")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddField(
            model_name="team",
            name="decisions_changed_by",
            field=models.CharField(
                choices=[("all", "every agent"), ("author_and_holder", "its author and the task's holder")],
                db_default="all",
                default="all",
                help_text="Which agents may supersede, revoke and judge a decision; people always may.",
                max_length=20,
            ),
        ),
        migrations.RunSQL(MAY_WORK_ON, "drop function may_work_on(uuid, int)"),
    ]
