"""Leases: one holder a task, with a strictly increasing fencing token, on the database's clock.

After M. Kleppmann, "How to do distributed locking" (2016): the token is checked where the write lands.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from memoryhub.core.access import visible_to
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.sealing import read_text
from memoryhub.core.sql import run
from memoryhub.core.verbs import AGENTS, DESK, action
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.tasks import lock, record, refuse_human_owned, save, set_text
from memoryhub.memory.models import OVER, Task, TaskStatus


def now() -> datetime:
    """The database's clock, after any wait for a lock (not the transaction's start)."""
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


@action("task.claim", roles=AGENTS, scope="tasks")
def claim(viewer: Viewer, *, task: Task, ttl_seconds: int = 600) -> Task:
    """Take the task for 1..3600 s; the answer's `token` is greater than every one before.

    Raises Conflict: human_owned, lease_held (also for one's own live lease: another process may hold it), wrong_state
    when the task is over. Of several at once exactly one succeeds.
    """
    task = lock(viewer, task.id)
    refuse_human_owned(viewer, task)
    if task.status in OVER:
        raise Conflict(Code.WRONG_STATE, f"A task that is {task.status} cannot be claimed.", state=task.status)
    at = now()
    if task.holder_id and task.lease_expires_at and task.lease_expires_at > at:
        raise Conflict(
            Code.LEASE_HELD,
            "Somebody holds this task.",
            held_by=task.holder.name if task.holder else None,
            lease_expires_at=task.lease_expires_at,
        )
    _grant(viewer, task, ttl_seconds)
    return task


@action("task.claim_next", roles=AGENTS, scope="tasks")
def claim_next(
    viewer: Viewer, *, status: str | None = None, metadata: dict[str, Any] | None = None, ttl_seconds: int = 600
) -> Task | None:
    """Claim the oldest free task, of this status and with this metadata (containment) when given; None without one.

    Tasks that others are claiming at this moment are passed over, not waited for.
    """
    free = visible_to(viewer, Task.objects.select_for_update(no_key=True, skip_locked=True)).filter(
        human_owned=False, status__in=[status] if status else [TaskStatus.OPEN, TaskStatus.IN_PROGRESS]
    )
    if metadata:
        # Sealed tasks have no searchable metadata, so a filter never finds them.
        free = free.filter(body__metadata__contains=metadata)
    at = now()
    task = free.exclude(lease_expires_at__gt=at).exclude(status__in=OVER).order_by("id").first()
    if task is not None:
        _grant(viewer, task, ttl_seconds)
    return task


def _grant(viewer: Viewer, task: Task, ttl_seconds: int) -> None:
    task.token += 1
    task.holder_id = viewer.membership
    if task.status in (TaskStatus.OPEN, TaskStatus.BLOCKED):
        task.status = TaskStatus.IN_PROGRESS
    set_expiry(task, ttl_seconds)
    save(task)
    record(viewer, "task.claim", task, token=task.token)


def set_expiry(task: Task, seconds: int) -> None:
    """The lease's end, so many seconds from now on the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp() + make_interval(secs => %s)", [seconds])
        task.lease_expires_at = cursor.fetchone()[0]


@action("task.renew", roles=AGENTS, scope="tasks")
def renew(viewer: Viewer, *, task: Task, token: int, ttl_seconds: int = 600) -> Task:
    """Prolong one's lease to so many seconds from now. Raises Conflict (lease_lost)."""
    task = _held(viewer, task.id, token)
    set_expiry(task, ttl_seconds)
    task.save(update_fields=["lease_expires_at"])
    record(viewer, "task.renew", task, token=token)
    return task


@action("task.release", roles=AGENTS, scope="tasks")
def release(viewer: Viewer, *, task: Task, token: int) -> Task:
    """Give the task back unfinished. Raises Conflict (lease_lost)."""
    task = _held(viewer, task.id, token)
    end_lease(task)
    if task.status == TaskStatus.IN_PROGRESS:
        task.status = TaskStatus.OPEN
    save(task)
    record(viewer, "task.release", task)
    return task


@action("task.complete", roles=AGENTS, scope="tasks")
def complete(viewer: Viewer, *, task: Task, token: int, outcome: Any = None) -> Task:
    """Finish the task as done. Raises Conflict: lease_lost, human_owned, wrong_state while it is escalated."""
    return _end(viewer, "task.complete", task, token, TaskStatus.DONE, outcome)


@action("task.fail", roles=AGENTS, scope="tasks")
def fail(viewer: Viewer, *, task: Task, token: int, outcome: Any = None) -> Task:
    """Finish the task as failed. Raises as complete."""
    return _end(viewer, "task.fail", task, token, TaskStatus.FAILED, outcome)


def _end(viewer: Viewer, verb: str, task: Task, token: int, status: TaskStatus, outcome: Any) -> Task:
    task = _held(viewer, task.id, token)
    if task.status == TaskStatus.ESCALATED:
        raise Conflict(
            Code.WRONG_STATE, "The task is escalated: take the answer or cancel it first.", state=task.status
        )
    finish(task, status, outcome)
    save(task)
    record(viewer, verb, task)
    return task


def finish(task: Task, status: TaskStatus, outcome: Any) -> None:
    """Set a locked task over, with what came of it."""
    task.status, task.ended_at = status, now()
    end_lease(task)
    if outcome is not None:
        set_text(task, {**read_text(task), "outcome": outcome})


@action("task.reopen", roles=AGENTS | DESK, scope="tasks")
def reopen(viewer: Viewer, *, task: Task, reason: str) -> Task:
    """Open a task that was over; counts as rework. Raises Conflict (wrong_state) for one that is not over."""
    task = lock(viewer, task.id)
    if task.status not in OVER:
        raise Conflict(Code.WRONG_STATE, f"A task that is {task.status} is not over.", state=task.status)
    task.status, task.ended_at = TaskStatus.OPEN, None
    task.reopen_count += 1
    set_text(task, {**read_text(task), "reopen_reason": reason})
    save(task)
    record(viewer, "task.reopen", task, reopen_count=task.reopen_count)
    return task


def end_lease(task: Task) -> None:
    """Nobody holds the task any more. The token stays, so that the next one is greater."""
    task.holder, task.lease_expires_at, task.human_owned = None, None, False


def _held(viewer: Viewer, task_id: UUID, token: int) -> Task:
    task = lock(viewer, task_id)
    refuse_human_owned(viewer, task)
    is_mine = task.token == token and task.holder_id == viewer.membership
    if not is_mine or not task.lease_expires_at or task.lease_expires_at <= now():
        raise lease_lost(task.token, has_run_out=is_mine)
    return task


def lease_lost(token: int, *, has_run_out: bool) -> Conflict:
    """The refusal of a token that is old, another's, or whose lease `has_run_out`."""
    why = "its time has run out; claim the task anew" if has_run_out else "its token is not the holder's current one"
    return Conflict(Code.LEASE_LOST, f"This lease is over: {why}.", current_token=token)


_FOR_SHARE = """
select token, holder_id, coalesce(lease_expires_at > clock_timestamp(), false), human_owned from task
where id = %s for share
"""


def hold_task(viewer: Viewer, task_id: UUID, *, token: int | None, decides: bool) -> None:
    """Keep the task's lease from changing until COMMIT, and check the token that a write brings.

    `decides`: refuse agents while a person has the task. Raises Conflict: lease_lost, human_owned. The row is only
    shared, so writers of one task do not wait for each other; a claim waits for them.
    """
    if token is None and not (decides and viewer.is_agent):
        return
    ((current, holder, live, human_owned),) = run(_FOR_SHARE, [task_id])
    if decides and human_owned and viewer.is_agent:
        refuse_human_owned(viewer, Task.objects.select_related("holder").get(id=task_id))
    is_mine = token == current and holder == viewer.membership
    if token is not None and not (is_mine and live):
        raise lease_lost(current, has_run_out=is_mine)
