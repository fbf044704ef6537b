"""What time does to escalations, and what follows from a member's rights. Outbox handlers: `handler(viewer, job)`."""

from datetime import datetime

from escalations.actions.answers import give_back
from escalations.actions.claims import requeue
from escalations.actions.common import lock, save
from escalations.models import Escalation
from escalations.states import CLAIMED, HANDED_BACK, RESOLVED, WAITING, next_state
from memoryhub.core import outbox
from memoryhub.core.labels import label_by_id
from memoryhub.core.models import Membership, Outbox, Role
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of
from memoryhub.memory.actions.leases import now


def run_out(viewer: Viewer, job: Outbox) -> datetime | None:
    """End a claim whose lease has run out; due again at its new end when it was prolonged.

    What was decided and not handed back goes to the agent now: it waits for nothing else.
    """
    assert job.row_id is not None
    escalation, task = lock(viewer, job.row_id)
    held = escalation.state in (CLAIMED, RESOLVED)
    if escalation.generation != job.generation or not held or escalation.claim_expires_at is None:
        return None
    if escalation.claim_expires_at > now():
        return escalation.claim_expires_at
    if escalation.state == RESOLVED:
        give_back(viewer, escalation, task)
    else:
        requeue(viewer, escalation, task, "run_out")
    return None


def close_unacknowledged(viewer: Viewer, job: Outbox) -> None:
    """Close and mark an answer that its agent did not take in time."""
    assert job.row_id is not None
    escalation, _ = lock(viewer, job.row_id)
    if escalation.generation != job.generation or escalation.state != HANDED_BACK:
        return
    escalation.state = next_state("close_unacknowledged", escalation.state)
    escalation.closed_at, escalation.unacknowledged = now(), True
    save(viewer, "close_unacknowledged", escalation)


def release_claims_of_person(viewer: Viewer, job: Outbox) -> None:
    """The same in each of a person's teams, whose ledgers are their own (reaction to person.change)."""
    for member in Membership.objects.filter(actor=job.row_id):
        handler = "claims.release_of_member"
        outbox.schedule(system_viewer(member.team_id), handler, row_id=member.id)


def release_claims_of_member(viewer: Viewer, job: Outbox) -> None:
    """Put back what a member has claimed and may no longer work on (reaction to membership.change)."""
    assert job.row_id is not None
    member = Membership.objects.select_related("actor", "team").get(id=job.row_id)
    allowed = member.is_active and member.actor.is_active and member.role not in (Role.READER, Role.AGENT)
    held = Escalation.objects.filter(team_id=viewer.team, owner_id=member.id, state__in=[CLAIMED, WAITING])
    for escalation_id, label_id in held.values_list("id", "label_id"):
        label = label_by_id(label_id)
        if allowed and viewer_of(member).dominates(label.sensitivity, label.compartments):
            continue
        escalation, task = lock(viewer, escalation_id)
        if escalation.owner_id == member.id and escalation.state in (CLAIMED, WAITING):
            requeue(viewer, escalation, task, "release")
