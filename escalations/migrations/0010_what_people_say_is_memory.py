"""Answers and notes are memory: of their task, and for agents once they are given, or meant for them."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import PEOPLE, reading

# The event that handed an answer back, ended its escalation, or cancelled it. Notes were for everyone: the page said so.
_FILL = """
update escalation_note n set task_id = e.task_id from escalation e where e.id = n.escalation_id;
update escalation_answer a set task_id = e.task_id from escalation e where e.id = a.escalation_id;
update escalation_answer a set given_id = (
    select x.id from event x
    where x.task_id = a.task_id and x.row_id = a.escalation_id and x.id >= a.event_id
      and x.type in ('escalation.hand_back', 'escalation.finish', 'escalation.cancel')
    order by x.id limit 1)
where a.withdrawn_at is null
"""
_GIVEN = "given_id is not null and withdrawn_at is null"
# An agent's request may find a claim that is over, and with it an answer that the agent does not see.
_WITHDRAW = """
create function withdraw_answer(escalation uuid, in_round int) returns void language sql security definer
set search_path = public, pg_temp as $$
  update escalation_answer a set withdrawn_at = clock_timestamp()
  where a.escalation_id = $1 and a.round = $2 and a.withdrawn_at is null
    and a.team_id = nullif(current_setting('hub.team', true), '')::int
    and a.label_id = any (nullif(current_setting('hub.labels', true), '')::int[])
$$;
revoke execute on function withdraw_answer(uuid, int) from public
"""


def _task(model: str) -> migrations.AddField:
    field = models.ForeignKey(
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="memory.task",
    )
    return migrations.AddField(model_name=model, name="task", field=field)


def _of_task(model: str) -> migrations.AlterField:
    field = models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="memory.task"
    )
    return migrations.AlterField(model_name=model, name="task", field=field)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("core", "0013_what_only_people_hear"),
        ("escalations", "0009_policies_choose_no_index"),
        ("memory", "0015_what_is_withheld_is_counted_by_kind"),
    ]

    operations: ClassVar[list[Operation]] = [
        _task("note"),
        _task("answer"),
        migrations.AddField(
            model_name="note",
            name="audience",
            field=models.CharField(
                choices=[("people", "People"), ("everyone", "Everyone")], default="everyone", max_length=10
            ),
        ),
        migrations.AddField(model_name="answer", name="given_id", field=models.UUIDField(null=True)),
        migrations.RunSQL(_FILL, migrations.RunSQL.noop),
        # Constraints that are checked later stand in the way of what follows.
        migrations.RunSQL("set constraints all immediate", migrations.RunSQL.noop),
        _of_task("note"),
        _of_task("answer"),
        migrations.AddIndex(
            model_name="note", index=models.Index(fields=["task", "-id"], name="escalation_note_of_task")
        ),
        migrations.AddIndex(
            model_name="answer",
            index=models.Index(
                condition=models.Q(given_id__isnull=False), fields=["given_id"], name="escalation_answer_given"
            ),
        ),
        migrations.AddIndex(
            model_name="answer",
            index=models.Index(
                condition=models.Q(given_id__isnull=False), fields=["task", "-id"], name="escalation_answer_of_task"
            ),
        ),
        reading("escalation_note", f"audience = 'everyone' or {PEOPLE}"),
        reading("escalation_answer", f"({_GIVEN}) or {PEOPLE}"),
        migrations.RunSQL(_WITHDRAW, "drop function withdraw_answer(uuid, int)"),
    ]
