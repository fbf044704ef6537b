"""Claims: exactly one person works on an escalation, for as long as they do something."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from escalations.actions.common import lock, requeue, require_owner, save
from escalations.models import Escalation
from escalations.standing import IS_OVER
from escalations.states import CLAIMED, QUEUED, WAITING, next_state
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.permissions import DESK, action
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.outbox import jobs
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import now, take_token
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import Task

RUN_OUT = "escalation.run_out"


@action("escalation.claim", roles=DESK)
def claim(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Take the escalation, and its task's lease from the agent; repeating one's own claim is fine.

    A claim of somebody else's that is over, by the database's clock or by their rights, does not stand in the way.
    Of several people at once exactly one succeeds. Raises Conflict: already_claimed with owner, since when and
    version; wrong_state when it is over; NotFound.
    """
    escalation, task = lock(viewer, escalation_id)
    if escalation.state in (CLAIMED, WAITING):
        if escalation.owner_id == viewer.membership:
            current().depends_on_event = escalation.change
            return escalation
        raise Conflict(
            Code.ALREADY_CLAIMED,
            f"{escalation.owner.name if escalation.owner else 'Somebody'} has claimed this escalation.",
            owner=escalation.owner.name if escalation.owner else None,
            since=escalation.claimed_at,
            state=escalation.state,
            version=escalation.version,
        )
    escalation.state = next_state("claim", escalation.state)
    return _take(viewer, escalation, task)


@action("escalation.next", roles=DESK)
def next_free(viewer: Viewer) -> Escalation | None:
    """Claim the most urgent free one, the oldest of equals; None when there is none.

    One that somebody is taking at this moment is passed over, not waited for. What somebody had, and no longer has by
    the database's clock or by their rights, is free.
    """
    queued = Escalation.objects.filter(Q(state=QUEUED) | IS_OVER).order_by("-priority", "id")
    # The task first, as everywhere: who claims this very one at this moment must not wait for us in a circle.
    free_task = Task.objects.select_for_update(no_key=True, skip_locked=True)
    for escalation_id, task_id in visible_to(viewer, queued).values_list("id", "task_id")[:50]:
        if not visible_to(viewer, free_task).filter(id=task_id).exists():
            continue
        escalation, task = lock(viewer, escalation_id)
        if escalation.state != QUEUED:
            continue
        escalation.state = next_state("claim", escalation.state)
        return _take(viewer, escalation, task)
    return None


def _take(viewer: Viewer, escalation: Escalation, task: Task) -> Escalation:
    at = now()
    escalation.owner_id, escalation.claimed_at = viewer.membership, at
    escalation.generation += 1
    take_token(task)
    task.holder_id, task.human_owned = viewer.membership, True
    _prolong(escalation, task, at)
    save_task(task)
    save(viewer, "claim", escalation, owner=viewer.name)
    jobs.schedule(
        viewer, RUN_OUT, row_id=escalation.id, due_at=escalation.claim_expires_at, generation=escalation.generation
    )
    return escalation


def _prolong(escalation: Escalation, task: Task, at: datetime) -> None:
    escalation.claim_expires_at = at + timedelta(minutes=escalation.policy["claim_minutes"])
    task.lease_expires_at = escalation.claim_expires_at


@action("escalation.keep", roles=DESK)
def keep(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Prolong one's claim: a keystroke, or the key that says "still here". Raises Conflict (not_owner)."""
    escalation, task = lock(viewer, escalation_id)
    require_owner(viewer, escalation)
    next_state("keep", escalation.state)
    _prolong(escalation, task, now())
    task.save(update_fields=["lease_expires_at"])
    save(viewer, "keep", escalation)
    return escalation


@action("escalation.release", roles=DESK)
def release(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Put it back into the queue: the owner, or a lead. What was decided and not handed back is never sent then.

    Raises Conflict: not_owner, wrong_state.
    """
    escalation, task = lock(viewer, escalation_id)
    next_state("release", escalation.state)
    require_owner(viewer, escalation, or_lead=True)
    requeue(viewer, escalation, task, "release")
    return escalation
