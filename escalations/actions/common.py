"""What the escalation's actions share: finding and locking one, its texts, its event."""

from typing import Any
from uuid import UUID

from django.conf import settings

from escalations.models import Answer, Audience, Escalation, Note, Verdict
from escalations.standing import ended_by
from escalations.states import RESOLVED, next_state
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.statements import queue
from memoryhub.core.errors import NotFound, RateLimited
from memoryhub.core.ids import new_id
from memoryhub.core.ledger import events
from memoryhub.core.models import Role
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import end_lease
from memoryhub.memory.actions.tasks import lock as lock_task
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import Task

RETRY_SECONDS = 60  # people answer within minutes, at best


def lock(viewer: Viewer, escalation_id: UUID) -> tuple[Escalation, Task]:
    """The visible escalation and its task, locked until COMMIT. Raises NotFound.

    The task first, as in everything that changes both: so there is no deadlock. A claim that is over is ended here,
    before anybody acts on it.
    """
    found = visible_to(viewer, Escalation.objects.filter(id=escalation_id)).values_list("task_id", flat=True).first()
    if found is None:
        raise NotFound()
    task = lock_task(viewer, found)
    escalation = visible_to(viewer, Escalation.objects.select_for_update(no_key=True)).get(id=escalation_id)
    if (verb := ended_by(escalation)) is not None:
        requeue(viewer, escalation, task, verb)
    return escalation, task


def requeue(viewer: Viewer, escalation: Escalation, task: Task, verb: str) -> None:
    """End the claim of a locked escalation, and with it the person's hold on the task.

    An answer that was decided and not handed back is withdrawn with it: kept, shown to the next person, never sent.
    """
    owner = escalation.owner
    if escalation.state == RESOLVED:
        withdraw_answer(escalation)
    escalation.state = next_state(verb, escalation.state)
    escalation.ended_for = escalation.owner_id
    free(escalation)
    let_go(task)
    save_task(task)
    save(viewer, verb, escalation, owner=owner.name if owner else None)


def let_go(task: Task) -> None:
    """End a person's hold on a locked task; an agent's lease that began after that hold was over continues."""
    if task.human_owned:
        end_lease(task)


def withdraw_answer(escalation: Escalation) -> None:
    """Keep this round's answer from ever being sent."""
    queue("select withdraw_answer(%(id)s::uuid, %(round)s::int)", {"id": escalation.id, "round": escalation.round})


def save(viewer: Viewer, verb: str, escalation: Escalation, **data: Any) -> UUID:
    """Write a locked escalation's change as its next version, with its event; returns the event's id."""
    escalation.version += 1
    escalation.change_id = new_id()
    escalation.save()
    return record(viewer, verb, escalation, event_id=escalation.change_id, **data)


def record(
    viewer: Viewer,
    verb: str,
    escalation: Escalation,
    *,
    event_id: UUID | None = None,
    people: bool = False,
    **data: Any,
) -> UUID:
    """Append the event of an escalation's change; `people`: no agent hears of it."""
    return events.append(
        viewer,
        f"escalation.{verb}",
        label=escalation.label_id,
        row_type="escalation",
        row_id=escalation.id,
        task_id=escalation.task_id,
        data={"state": escalation.state, "version": escalation.version, **data},
        event_id=event_id,
        people=people,
    )


def refuse_more_notes(viewer: Viewer, escalation: Escalation) -> None:
    """Raises RateLimited for an agent where agents have already written ESCALATION_NOTES on a locked escalation."""
    if not viewer.is_agent:
        return
    written = Note.objects.filter(escalation_id=escalation.id, author__role=Role.AGENT).count()
    if written >= settings.ESCALATION_NOTES:
        raise RateLimited(
            f"Agents have written {written} notes on this escalation, and it accepts no more: wait for its answer.",
            retry_after=RETRY_SECONDS,
        )


def write_note(
    viewer: Viewer, escalation: Escalation, text: str, *, audience: Audience, client_ref: str | None = None
) -> Note:
    """Add a note under the escalation's label, with its event."""
    task = escalation.task_id
    note = Note(id=new_id(), escalation=escalation, task_id=task, audience=audience, client_ref=client_ref)
    place(viewer, note, escalation, {"text": text})
    note.clock_id = record(viewer, "note", escalation, people=audience == Audience.PEOPLE, note=str(note.id))
    note.save(force_insert=True)
    return note


def write_answer(
    viewer: Viewer, escalation: Escalation, verdict: Verdict, text: dict[str, Any], event: UUID, *, is_given: bool
) -> Answer:
    """Store the person's verdict of this round. `is_given`: with this event, agents may read it at once."""
    answer = Answer(id=new_id(), escalation=escalation, task_id=escalation.task_id, clock_id=event)
    answer.round, answer.verdict, answer.given_id = escalation.round, verdict, event if is_given else None
    place(viewer, answer, escalation, text)
    answer.save(force_insert=True)
    return answer


def place(viewer: Viewer, row: Escalation | Note | Answer, of: Escalation | Task, text: dict[str, Any]) -> None:
    """Give a new row its author and its text, under the label of what it is of."""
    label = label_by_id(of.label_id)
    row.team_id, row.label_id, row.sensitivity = label.team, label.id, label.sensitivity
    row.author_id = viewer.membership
    columns = text_columns(row._meta.db_table, row.id, label, text)
    row.body, row.sealed = columns["body"], columns["sealed"]


def free(escalation: Escalation) -> None:
    """Leave it without an owner."""
    escalation.owner, escalation.claimed_at, escalation.claim_expires_at = None, None, None
