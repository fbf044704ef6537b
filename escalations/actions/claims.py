"""Claims: exactly one person works on an escalation, for as long as they do something."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from escalations.actions.common import lock, requeue, save
from escalations.models import Escalation
from escalations.permissions import VERBS, require, taken
from escalations.standing import IS_OVER
from escalations.states import IN_PROGRESS, QUEUED
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.permissions import action
from memoryhub.core.db.clock import now
from memoryhub.core.errors import Code
from memoryhub.core.outbox import jobs
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import take_token
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import Task

RUN_OUT = "escalation.run_out"


@action("escalation.claim", roles=VERBS["claim"].roles)
def claim(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Take the escalation, and its task's lease from the agent. Repeating one's own claim is a no-op.

    Somebody else's claim that is over, by the database's clock or by their rights, is no obstacle. Of concurrent claims
    exactly one succeeds. Raises Conflict: already_claimed with owner, since when and version; wrong_state when the
    escalation is over; NotFound.
    """
    escalation, task = lock(viewer, escalation_id)
    if escalation.state in IN_PROGRESS:
        if escalation.owner_id == viewer.membership:
            current().depends_on_event = escalation.change
            return escalation
        owner = escalation.owner.name if escalation.owner else "Somebody"
        raise taken(Code.ALREADY_CLAIMED, f"{owner} has claimed this escalation.", escalation)
    escalation.state = require(viewer, escalation, "claim")
    return _take(viewer, escalation, task)


@action("escalation.next", roles=VERBS["next"].roles)
def next_free(viewer: Viewer) -> Escalation | None:
    """Claim the most urgent free one, the oldest of equals; None when there is none.

    One that somebody is claiming at this moment is skipped, not waited for. One whose claim is over, by the database's
    clock or by its owner's rights, is free.
    """
    queued = Escalation.objects.filter(Q(state=QUEUED) | IS_OVER).order_by("-priority", "id")
    # The task first, as everywhere, against a deadlock with somebody who claims this very one at this moment.
    free_task = Task.objects.select_for_update(no_key=True, skip_locked=True)
    for escalation_id, task_id in visible_to(viewer, queued).values_list("id", "task_id")[:50]:
        if not visible_to(viewer, free_task).filter(id=task_id).exists():
            continue
        escalation, task = lock(viewer, escalation_id)
        if escalation.state != QUEUED:
            continue
        escalation.state = require(viewer, escalation, "claim")
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


@action("escalation.keep", roles=VERBS["keep"].roles)
def keep(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Prolong one's own claim, while working or by a key. Raises Conflict: not_owner, wrong_state."""
    escalation, task = lock(viewer, escalation_id)
    require(viewer, escalation, "keep")
    _prolong(escalation, task, now())
    task.save(update_fields=["lease_expires_at"])
    save(viewer, "keep", escalation)
    return escalation


@action("escalation.release", roles=VERBS["release"].roles)
def release(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Put it back into the queue: the owner, or a lead. An answer that was not handed back is never sent.

    Raises Conflict: not_owner, wrong_state.
    """
    escalation, task = lock(viewer, escalation_id)
    require(viewer, escalation, "release")
    requeue(viewer, escalation, task, "release")
    return escalation
