"""The ledger refers to what is never deleted; its policy holds the references, not foreign keys (ADR 5)."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import ACTOR, LABELS, TEAM

SEQ_KEYS = """
alter table event_seq drop constraint event_seq_team_id_fkey, drop constraint event_seq_event_id_fkey;
"""
SEQ_KEYS_AGAIN = """
alter table event_seq add constraint event_seq_team_id_fkey foreign key (team_id) references team (id),
                      add constraint event_seq_event_id_fkey foreign key (event_id) references event (id);
"""
# Whoever writes an event signs it with the name that the transaction was begun under.
MAKE = """
drop policy event_make on event;
create policy event_make on event for insert with check (team_id = {} and label_id = any {} {});
"""


def unconstrained(to: str, *, null: bool = False) -> models.Field:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=null,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=to,
    )


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0002_ledger_clock_and_row_level_security")]

    operations: ClassVar[list[Operation]] = [
        migrations.AlterField(model_name="event", name="actor", field=unconstrained("core.membership")),
        migrations.AlterField(model_name="event", name="audience", field=unconstrained("core.membership", null=True)),
        migrations.AlterField(model_name="event", name="label", field=unconstrained("core.label")),
        migrations.AlterField(model_name="event", name="team", field=unconstrained("core.team")),
        migrations.RunSQL(SEQ_KEYS, SEQ_KEYS_AGAIN),
        migrations.RunSQL(MAKE.format(TEAM, LABELS, f"and actor_id = {ACTOR}"), MAKE.format(TEAM, LABELS, "")),
    ]
