"""Tasks: create, update."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from msgspec import UNSET

from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, Conflict, PreconditionFailed
from memoryhub.core.ids import mark_of, new_id
from memoryhub.core.ledger import events
from memoryhub.core.secrecy.sealing import read_text, text_columns
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.rows import label_for, set_text, text_of
from memoryhub.memory.models import OVER, Task, TaskStatus
from memoryhub.memory.schemas import tasks as schemas
from memoryhub.memory.schemas.tasks import PERSONS, NewTask, TaskChange
from memoryhub.memory.selectors.tasks import TaskRef, dominating_row


@action("task.create", roles=AGENTS | DESK, scope="tasks")
def create(viewer: Viewer, *, item: NewTask) -> tuple[Task, bool]:
    """Create a task of this key, or return the visible one that has it; and whether it is new.

    The label defaults to internal (public where the clearance allows no more). An explicit label that differs from the
    visible one's makes a twin. Idempotent; concurrent duplicates are stored once. Raises Forbidden above the writer's
    clearance, Conflict (ambiguous_key).
    """
    key, client_ref = item.key, item.client_ref
    label = label_for(viewer, item, None)
    twins = [] if item.names_label else list(visible_to(viewer, Task.objects.filter(key=key)))
    if twins:
        return _existing(dominating_row(twins, None))
    task = Task(id=new_id(), team_id=viewer.team, label_id=label.id, sensitivity=label.sensitivity, key=key)
    for column, value in text_columns("task", task.id, label, text_of(schemas.Task, item)).items():
        setattr(task, column, value)
    task.author_id, task.client_ref = viewer.membership, client_ref
    task.clock_id = new_id()
    try:
        with transaction.atomic():
            task.save(force_insert=True)
    except IntegrityError:
        # Another writer was first with this key or this client_ref.
        rows = visible_to(viewer, Task.objects.filter(label_id=label.id))
        found = rows.filter(key=key).first() or rows.filter(author_id=viewer.membership, client_ref=client_ref).first()
        if found is None:
            raise
        return _existing(found)
    events.append(
        viewer,
        "task.create",
        label=label.id,
        row_type="task",
        row_id=task.id,
        task_id=task.id,
        data={"status": TaskStatus.OPEN},
        event_id=task.clock_id,
    )
    return task, True


def _existing(task: Task) -> tuple[Task, bool]:
    current().depends_on_event = task.clock_id
    return task, False


@action("task.update", roles=AGENTS | DESK, scope="tasks")
def update(
    viewer: Viewer,
    *,
    task: TaskRef,
    expected: tuple[int, str],
    change: TaskChange,
) -> Task:
    """Change a task's text, or set it to blocked, open or cancelled, if it is still at the expected version.

    `expected`: the version and the mark of its change (mark_of).

    Raises PreconditionFailed with the current version, Conflict (human_owned) for an agent while a person has it,
    Conflict (wrong_state) for a new status of a task that is over, escalated or in progress.
    """
    row = lock(viewer, task.id)
    if expected != (row.version, mark_of(row.change_id or row.clock_id)):
        raise PreconditionFailed("The task was changed meanwhile.", version=row.version)
    refuse_human_owned(viewer, row)
    status = change.status
    if status is not UNSET and status != row.status:
        if row.status in (*OVER, TaskStatus.ESCALATED, TaskStatus.IN_PROGRESS):
            raise Conflict(Code.WRONG_STATE, f"A task that is {row.status} cannot become {status}.", state=row.status)
        row.status = status
    text = read_text(row)
    changed = {name: value for name, value in text_of(schemas.Task, change).items() if value is not UNSET}
    if changed:
        set_text(row, {**text, **changed})
    save(row)
    record(viewer, "task.update", row)
    return row


def lock(viewer: Viewer, task_id: UUID) -> Task:
    """The visible task, locked against other changes until COMMIT. Raises Task.DoesNotExist."""
    return visible_to(viewer, Task.objects.select_for_update(no_key=True)).get(id=task_id)


def refuse_human_owned(viewer: Viewer, task: Task) -> None:
    """Raise Conflict (human_owned) for an agent while a person has the locked task."""
    if task.human_owned and viewer.is_agent and run(f"select from task where id = %s and {PERSONS}", [task.id]):
        raise Conflict(Code.HUMAN_OWNED, "A person has taken this task over.", **holding(task))


def holding(task: Task) -> dict[str, Any]:
    """Who holds a task, and until when, as a refusal shows it."""
    return {"held_by": task.holder.name if task.holder else None, "lease_expires_at": task.lease_expires_at}


def save(task: Task) -> None:
    """Write a locked task's changes as its next version."""
    task.version += 1
    task.change_id = new_id()
    task.save()


def record(viewer: Viewer, verb: str, task: Task, **data: Any) -> None:
    """Append the event of a task's change."""
    events.append(
        viewer,
        verb,
        label=task.label_id,
        row_type="task",
        row_id=task.id,
        task_id=task.id,
        data={"status": task.status, "version": task.version, **data},
    )
