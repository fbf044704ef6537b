"""Retention: expired observations are removed in small batches."""

from typing import NamedTuple
from uuid import UUID

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import run
from memoryhub.core.ledger import events
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer

# No longer visible (selectors.memories), except to those who work on an open escalation of their task.
_EXPIRED = f"team_id = %(team)s::int and {VISIBLE} and not pinned and expires_at <= statement_timestamp()"
# Not EXISTS, which PostgreSQL may answer from a hash of all escalated tasks.
_KEPT = "coalesce((select true from task t where t.id = o.task_id and t.status = 'escalated'), false)"

# The tasks are locked against a concurrent escalation, whose package holds what was there before it.
_REMOVE = f"""
with due as (
    select id, task_id from observation o where {_EXPIRED} and not {_KEPT}
    order by expires_at limit %(limit)s::int for update skip locked
), idle as (
    select id from task where id = any (array(select task_id from due)) and status <> 'escalated'
    for share skip locked
)
delete from observation o using due
where o.id = due.id and (due.task_id is null or due.task_id in (select id from idle))
returning o.label_id, case when o.private then o.author_id end, o.task_id
"""


def expire(viewer: Viewer, *, limit: int = 500) -> int:
    """Remove up to `limit` expired observations of the system viewer's team; returns how many.

    Those of a task whose escalation is open stay, so that its package stays whole; pinned ones do not expire. One event
    per label (of private ones, per label and author, and for that author only).
    """
    with viewer_transaction(viewer):
        removed: dict[tuple[int, UUID | None], list[UUID | None]] = {}
        for label_id, audience, task_id in run(_REMOVE, {**label_params(viewer), "limit": limit}):
            removed.setdefault((label_id, audience), []).append(task_id)
        for (label_id, audience), tasks in removed.items():
            events.append(
                viewer,
                "observation.expire",
                label=label_id,
                row_type="observation",
                row_id=None,
                task_id=tasks[0] if len(set(tasks)) == 1 else None,
                audience=audience,
                data={"count": len(tasks)},
            )
    return sum(len(tasks) for tasks in removed.values())


class Due(NamedTuple):
    """How many observations have expired, and how many of them are kept for an open escalation."""

    expired: int
    kept: int


_DUE = f"select count(*), count(*) filter (where {_KEPT}) from observation o where {_EXPIRED}"


def due(viewer: Viewer) -> Due:
    """What expire() would find in the system viewer's team now."""
    with viewer_transaction(viewer, read_only=True):
        return Due(*run(_DUE, label_params(viewer))[0])
