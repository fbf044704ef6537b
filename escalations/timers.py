"""Outbox handlers of escalations, for timers and for changed rights: `handler(viewer, job)`."""

from datetime import datetime

from escalations.actions.answers import give_back
from escalations.actions.common import lock, requeue, save
from escalations.models import Escalation
from escalations.selectors.escalations import unreachable
from escalations.states import CLAIMED, HANDED_BACK, HELD, RESOLVED, next_state
from memoryhub.core.db.clock import now
from memoryhub.core.models import Membership, Outbox
from memoryhub.core.outbox import jobs
from memoryhub.core.viewers import Viewer, system_viewer


def run_out(viewer: Viewer, job: Outbox) -> datetime | None:
    """End a claim whose lease has expired; due again at its new end if it was extended.

    An answer that was not handed back goes to the agent now. If it cannot reach the agent, it is withdrawn, and the
    escalation is queued again.
    """
    assert job.row_id is not None
    escalation, task = lock(viewer, job.row_id)  # ends a claim that is over
    held = escalation.state in (CLAIMED, RESOLVED)
    if escalation.generation != job.generation or not held or escalation.claim_expires_at is None:
        return None
    if escalation.state == CLAIMED or escalation.claim_expires_at > now():
        return escalation.claim_expires_at
    if unreachable(escalation) is not None:
        requeue(viewer, escalation, task, "withdraw")
    else:
        give_back(viewer, escalation, task)
    return None


def close_unacknowledged(viewer: Viewer, job: Outbox) -> None:
    """Close and mark an escalation whose answer the agent did not take in time."""
    assert job.row_id is not None
    escalation, _ = lock(viewer, job.row_id)
    if escalation.generation != job.generation or escalation.state != HANDED_BACK:
        return
    escalation.state = next_state("close_unacknowledged", escalation.state)
    escalation.closed_at, escalation.unacknowledged = now(), True
    save(viewer, "close_unacknowledged", escalation)


def release_claims_of_person(viewer: Viewer, job: Outbox) -> None:
    """Schedule release_claims_of_member() in each of a person's teams, each with its own ledger, on person.change."""
    for member in Membership.objects.filter(actor=job.row_id):
        handler = "claims.release_of_member"
        jobs.schedule(system_viewer(member.team_id), handler, row_id=member.id)


def release_claims_of_member(viewer: Viewer, job: Outbox) -> None:
    """Release what a member has claimed and may no longer work on, on membership.change.

    Their claims are over at once anyway (escalations.standing); this records it, which notifies desks and agents.
    """
    assert job.row_id is not None
    held = Escalation.objects.filter(team_id=viewer.team, owner_id=job.row_id, state__in=HELD)
    for escalation_id in held.values_list("id", flat=True):
        lock(viewer, escalation_id)
