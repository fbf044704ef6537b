"""Who administers the installation is said once, by membership; compartments are listed; their events may be written up."""

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import memoryhub.core.ids
from memoryhub.core.access.rls import ACTOR, LABELS, TEAM

# Until now an account had a tick and, apart from it, a membership, which alone was asked. Who has had both administers
# the installation from now on. A membership without the tick (it was taken away) ends; if that were all, they stay.
AGREE = """
update membership m set is_active = false
from actor a, team t
where a.id = m.actor_id and t.id = m.team_id and t.slug = 'system' and m.role = 'admin' and m.is_active
  and not a.is_superuser
  and exists (select from membership o join actor b on b.id = o.actor_id
              where o.team_id = m.team_id and o.role = 'admin' and o.is_active
                and b.is_superuser and b.is_staff and b.is_active)
"""
TICK = """
update actor a set is_superuser = true
where exists (select from membership m join team t on t.id = m.team_id
              where m.actor_id = a.id and t.slug = 'system' and m.role = 'admin' and m.is_active)
"""

# Those in use, in labels or memberships, made by nobody.
LIST = """
insert into compartment (id, team_id, name)
select gen_random_uuid(), team_id, name from (
    select team_id, unnest(compartments) as name from label
    union
    select team_id, unnest(compartments) from membership
) used
"""

# An event that names compartments is labelled with them, and whoever takes one away need not have it.
WRITE_UP = f"""
drop policy event_make on event;
create policy event_make on event for insert with check (
    team_id = {TEAM} and actor_id = {ACTOR}
    and (label_id = any {LABELS} or row_type in ('membership', 'compartment'))
);
"""
NO_WRITE_UP = f"""
drop policy event_make on event;
create policy event_make on event for insert with check (
    team_id = {TEAM} and label_id = any {LABELS} and actor_id = {ACTOR}
);
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0008_labels_have_makers")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(AGREE, TICK),
        migrations.RemoveConstraint(model_name="actor", name="actor_only_people_are_staff"),
        migrations.RemoveField(model_name="actor", name="is_superuser"),
        migrations.AddConstraint(
            model_name="actor",
            constraint=models.CheckConstraint(
                name="actor_only_people_are_staff",
                condition=models.Q(("kind", "human"), ("is_staff", False), _connector="OR"),
            ),
        ),
        migrations.AlterField(
            model_name="actor",
            name="is_staff",
            field=models.BooleanField(
                default=False, help_text="May open the admin pages of the teams where their role is administrator."
            ),
        ),
        migrations.CreateModel(
            name="Compartment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="A need-to-know word: 1 to 40 of the characters a-z 0-9 _ -", max_length=40
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "maker",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.membership",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="compartments", to="core.team"
                    ),
                ),
            ],
            options={"db_table": "compartment"},
        ),
        migrations.AddConstraint(
            model_name="compartment",
            constraint=models.UniqueConstraint(fields=("team", "name"), name="compartment_once_a_team"),
        ),
        migrations.RunSQL(LIST, migrations.RunSQL.noop),
        migrations.RunSQL(WRITE_UP, NO_WRITE_UP),
    ]
