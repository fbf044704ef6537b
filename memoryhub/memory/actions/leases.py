"""Leases: one holder per task, with a strictly increasing fencing token, on the database's clock.

After M. Kleppmann, "How to do distributed locking" (2016): the token is checked where the write lands.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.clock import now
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.ledger import events
from memoryhub.core.ledger.lives import NOW, TOKEN_BITS
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.rows import set_text
from memoryhub.memory.actions.tasks import holding, lock, record, refuse_human_owned, save
from memoryhub.memory.models import OVER, Task, TaskStatus
from memoryhub.memory.schemas.tasks import PERSONS
from memoryhub.memory.selectors.tasks import TaskRef


@dataclass(frozen=True, slots=True)
class TakenLease:
    """What a claim or a renewal gives: the task (its id and label), the fencing token, the lease's end."""

    id: UUID
    label_id: int
    token: int
    expires_at: datetime


# Free for an agent: without a holder, or with a lease or a person's claim that has ended and is not swept yet. A task
# that is over, or that a person has, is never free.
_FREE = f"not {PERSONS} and (human_owned or lease_expires_at is null or lease_expires_at <= clock_timestamp())"
# Each in the order of its index.
_NOBODYS = ("not human_owned and holder_id is null", "created_at, id")
_RUN_OUT_BY_NOW = ("not human_owned and lease_expires_at <= statement_timestamp()", "lease_expires_at")
_OF_TEAM = f"select id, holder_id, token from task where team_id = %(team)s::int and {VISIBLE}"
# Each life of the ledger has its own range of tokens: those of a lost history are never reissued (ADR 10).
_LAST_TOKEN = f"greatest(t.token, {NOW}::bigint << {TOKEN_BITS})"
# One statement that finds, locks and writes. The row is locked first, so that a claimer that had to wait judges the row
# as it is then, and its lease begins then.
_TAKE = """
with free as ({free})
update task t
set token = {token} + 1, change_id = gen_random_uuid(), holder_id = %(holder)s::uuid, human_owned = false,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s::int),
    status = case when t.status in ('open', 'blocked') then 'in_progress' else t.status end,
    version = t.version + case when free.holder_id is null then 1 else 2 end
from free where t.id = free.id
returning t.id, t.label_id, t.token, t.lease_expires_at, t.status, t.version, free.holder_id is not null, free.token
"""
_TAKE_THIS = _TAKE.format(
    token=_LAST_TOKEN,
    free=f"{_OF_TEAM} and id = %(task)s::uuid and {_FREE} and status not in ('done', 'failed', 'cancelled')"
    " for no key update",
)


@action("task.claim", roles=AGENTS, scope="tasks")
def claim(viewer: Viewer, *, task: TaskRef, ttl_seconds: int = 600) -> TakenLease:
    """Claim the task for `ttl_seconds` (1 to 3600); the lease's `token` is greater than all before it.

    Raises Conflict: human_owned, lease_held (also for one's own live lease: another process may hold it), wrong_state
    when the task is over. Of concurrent claims exactly one succeeds.
    """
    params = {"task": task.id, "seconds": ttl_seconds}
    taken = _take(viewer, _TAKE_THIS, params)
    if taken is None:
        _refuse_claim(viewer, task.id)
        taken = _take(viewer, _TAKE_THIS, params)  # it has become free, and is locked now
    assert taken is not None
    return taken


def _refuse_claim(viewer: Viewer, task_id: UUID) -> None:
    """Lock the task, and raise why it cannot be claimed, if that is still so."""
    task = lock(viewer, task_id)
    refuse_human_owned(viewer, task)
    if task.status in OVER:
        raise Conflict(Code.WRONG_STATE, f"A task that is {task.status} cannot be claimed.", state=task.status)
    if not task.human_owned and task.lease_expires_at and task.lease_expires_at > now():
        raise Conflict(Code.LEASE_HELD, "This task has a live lease.", **holding(task))


# For the rest of the transaction. The label is tested twice (VISIBLE, row-level security), which the planner takes for
# independent conditions: it expects few rows, and would read and sort a whole team's tasks instead of using the index.
IN_ORDER = "select set_config('enable_sort', 'off', true)"


@action("task.claim_next", roles=AGENTS, scope="tasks")
def claim_next(
    viewer: Viewer, *, status: str | None = None, metadata: dict[str, Any] | None = None, ttl_seconds: int = 600
) -> TakenLease | None:
    """Claim the oldest free task for `ttl_seconds` (1 to 3600); None without one.

    `status`: open, in_progress or blocked; `metadata`: what the task's must contain. Tasks that others are claiming at
    this moment are skipped, not waited for.
    """
    # The states are literals: with a parameter the planner cannot use the partial index.
    states = {None: "status in ('open', 'in_progress')", "open": "status = 'open'"}
    states |= {"in_progress": "status = 'in_progress'", "blocked": "status = 'blocked'"}
    # Sealed tasks have no searchable metadata, so a filter never finds them.
    contains = " and body -> 'metadata' @> %(metadata)s::jsonb" if metadata else ""
    params = {"seconds": ttl_seconds, "metadata": Jsonb(metadata)}
    # Those without a holder first: finding an expired lease means skipping all live ones, and the sweep returns its
    # task to its place within moments.
    queue(IN_ORDER)
    for free, order in (_NOBODYS, _RUN_OUT_BY_NOW):
        found = (
            f"{_OF_TEAM} and {free} and {states[status]}{contains}"
            f" order by {order} limit 1 for no key update skip locked"
        )
        if taken := _take(viewer, _TAKE.format(token=_LAST_TOKEN, free=found), params):
            return taken
    return None


def _take(viewer: Viewer, statement: str, params: dict[str, Any]) -> TakenLease | None:
    found = run(statement, {**label_params(viewer), "holder": viewer.membership, **params})
    if not found:
        return None
    ((task_id, label_id, token, expires_at, status, version, had_run_out, last),) = found
    if had_run_out:  # reported to its holder, as the sweep would
        before = TaskStatus.OPEN if status == TaskStatus.IN_PROGRESS else status
        _record(viewer, "task.run_out", task_id, label_id, status=before, version=version - 1, token=last)
    _record(viewer, "task.claim", task_id, label_id, status=status, version=version, token=token)
    return TakenLease(task_id, label_id, token, expires_at)


def _record(viewer: Viewer, verb: str, task_id: UUID, label_id: int, **data: Any) -> None:
    events.append(viewer, verb, label=label_id, row_type="task", row_id=task_id, task_id=task_id, data=data)


_RENEW = f"""
update task set lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s::int)
where id = %(task)s::uuid and team_id = %(team)s::int and {VISIBLE} and token = %(token)s::bigint
  and holder_id = %(holder)s::uuid and not human_owned and lease_expires_at > clock_timestamp()
returning label_id, lease_expires_at, status, version
"""


@action("task.renew", roles=AGENTS, scope="tasks")
def renew(viewer: Viewer, *, task: TaskRef, token: int, ttl_seconds: int = 600) -> TakenLease:
    """Extend one's lease to `ttl_seconds` (1 to 3600) from now. Raises Conflict (lease_lost, human_owned)."""
    params = {"task": task.id, "token": token, "holder": viewer.membership, "seconds": ttl_seconds}
    found = run(_RENEW, {**label_params(viewer), **params})
    if not found:
        _held(viewer, task.id, token)  # raises why
        found = run(_RENEW, {**label_params(viewer), **params})  # another process of the holder has extended it
    ((label_id, expires_at, status, version),) = found
    _record(viewer, "task.renew", task.id, label_id, status=status, version=version, token=token)
    return TakenLease(task.id, label_id, token, expires_at)


_RUN_OUT = f"""
with ended as (
    select id from task where team_id = %(team)s::int and {VISIBLE}
      and not human_owned and lease_expires_at <= statement_timestamp()
    order by lease_expires_at limit %(limit)s::int for no key update skip locked
)
update task t
set holder_id = null, lease_expires_at = null, version = t.version + 1, change_id = gen_random_uuid(),
    status = case when t.status = 'in_progress' then 'open' else t.status end
from ended where t.id = ended.id
returning t.id, t.label_id, t.token, t.status, t.version
"""


def run_out(viewer: Viewer, *, limit: int = 100) -> int:
    """End up to `limit` expired leases of the system viewer's team; returns how many.

    Their tasks have no holder, and are open again if they were in progress. A locked task is left to the next run; a
    person's hold ends with their claim.
    """
    with viewer_transaction(viewer):
        ended = run(_RUN_OUT, {**label_params(viewer), "limit": limit})
        for task_id, label_id, token, status, version in ended:
            _record(viewer, "task.run_out", task_id, label_id, status=status, version=version, token=token)
    return len(ended)


@action("task.release", roles=AGENTS, scope="tasks")
def release(viewer: Viewer, *, task: TaskRef, token: int) -> Task:
    """Give the task back unfinished. Raises Conflict (lease_lost, human_owned)."""
    held = _held(viewer, task.id, token)
    end_lease(held)
    if held.status == TaskStatus.IN_PROGRESS:
        held.status = TaskStatus.OPEN
    save(held)
    record(viewer, "task.release", held)
    return held


@action("task.complete", roles=AGENTS, scope="tasks")
def complete(viewer: Viewer, *, task: TaskRef, token: int, outcome: Any = None) -> Task:
    """Finish the task as done. Raises Conflict: lease_lost, human_owned, wrong_state while it is escalated."""
    return _end(viewer, "task.complete", task, token, TaskStatus.DONE, outcome)


@action("task.fail", roles=AGENTS, scope="tasks")
def fail(viewer: Viewer, *, task: TaskRef, token: int, outcome: Any = None) -> Task:
    """Finish the task as failed. Raises as complete()."""
    return _end(viewer, "task.fail", task, token, TaskStatus.FAILED, outcome)


def _end(viewer: Viewer, verb: str, task: TaskRef, token: int, status: TaskStatus, outcome: Any) -> Task:
    held = _held(viewer, task.id, token)
    if held.status == TaskStatus.ESCALATED:
        raise Conflict(
            Code.WRONG_STATE,
            "The task is escalated: take the answer or cancel the escalation first.",
            state=held.status,
        )
    finish(held, status, outcome)
    save(held)
    record(viewer, verb, held)
    return held


def finish(task: Task, status: TaskStatus, outcome: Any) -> None:
    """End a locked task, with its outcome."""
    task.status, task.ended_at = status, now()
    end_lease(task)
    if outcome is not None:
        set_text(task, {**read_text(task), "outcome": outcome})


@action("task.reopen", roles=AGENTS | DESK, scope="tasks")
def reopen(viewer: Viewer, *, task: TaskRef, reason: str) -> Task:
    """Reopen a task that is over; counts as rework. Raises Conflict (wrong_state) for one that is not."""
    ended = lock(viewer, task.id)
    if ended.status not in OVER:
        raise Conflict(Code.WRONG_STATE, f"A task that is {ended.status} cannot be reopened.", state=ended.status)
    ended.status, ended.ended_at = TaskStatus.OPEN, None
    ended.reopen_count += 1
    set_text(ended, {**read_text(ended), "reopen_reason": reason})
    save(ended)
    record(viewer, "task.reopen", ended, reopen_count=ended.reopen_count)
    return ended


def take_token(task: Task) -> None:
    """Give a locked task its next token, in the range of the transaction's life of the ledger."""
    task.token = max(task.token, current().life << TOKEN_BITS) + 1


def end_lease(task: Task) -> None:
    """Clear the holder and the lease. The token stays, so that the next one is greater."""
    task.holder, task.lease_expires_at, task.human_owned = None, None, False


def _held(viewer: Viewer, task_id: UUID, token: int) -> Task:
    task = lock(viewer, task_id)
    refuse_human_owned(viewer, task)
    is_mine = task.token == token and task.holder_id == viewer.membership
    if not is_mine or not task.lease_expires_at or task.lease_expires_at <= now():
        raise _lease_lost(task.token, is_last=task.token == token and task.holder_id in (viewer.membership, None))
    return task


def _lease_lost(token: int, *, is_last: bool) -> Conflict:
    """The refusal of a stale or foreign token, or of the last one, whose lease has ended (`is_last`)."""
    why = "it expired or was released; claim the task again" if is_last else "its token is not the current holder's"
    return Conflict(Code.LEASE_LOST, f"This lease has ended: {why}.", current_token=token)


_FOR_SHARE = f"""
select token, holder_id, coalesce(lease_expires_at > clock_timestamp(), false), {PERSONS} from task
where id = %s for share
"""


def hold_task(viewer: Viewer, task_id: UUID, *, token: int | None, decides: bool) -> None:
    """Keep the task's lease from changing until COMMIT, and check a write's token.

    `decides`: refuse agents while a person has the task. Raises Conflict: lease_lost, human_owned. The row's lock is
    shared: writers of one task do not block each other; a claim waits for them.
    """
    if token is None and not (decides and viewer.is_agent):
        return
    ((current, holder, live, is_persons),) = run(_FOR_SHARE, [task_id])
    if decides and is_persons and viewer.is_agent:
        refuse_human_owned(viewer, Task.objects.select_related("holder").get(id=task_id))
    is_mine = token == current and holder == viewer.membership
    if token is not None and not (is_mine and live):
        raise _lease_lost(current, is_last=token == current and holder in (viewer.membership, None))
