"""Queues: change. A team's first one is made by its first escalation."""

from escalations.models import Queue
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.errors import Invalid
from memoryhub.core.ledger import events
from memoryhub.core.models import Sensitivity
from memoryhub.core.viewers import Viewer


@action("queue.change", roles=ADMINS)
def change(viewer: Viewer, *, queue: Queue, claim_minutes: int | None = None) -> Queue:
    """Set how long a claim holds without work: 1 to 1440 minutes, for escalations from now on. None: no change.

    Raises Invalid out of bounds, and for a queue of another team.
    """
    if queue.team_id != viewer.team:
        raise Invalid("This queue is not of this team.")
    if claim_minutes is not None and not 1 <= claim_minutes <= 1440:
        raise Invalid("A claim holds from 1 to 1440 minutes.")
    was = Queue.objects.select_for_update(no_key=True).values_list("claim_minutes", flat=True).get(id=queue.id)
    queue.claim_minutes = was if claim_minutes is None else claim_minutes
    queue.save(update_fields=["claim_minutes"])
    label = ensure_label(viewer, min(viewer.clearance, Sensitivity.INTERNAL))
    before = {"claim_minutes": was} if was != queue.claim_minutes else {}
    data = {"queue": queue.name, "claim_minutes": queue.claim_minutes, "before": before}
    events.append(viewer, "queue.change", label=label.id, row_type="queue", row_id=None, data=data)
    return queue
