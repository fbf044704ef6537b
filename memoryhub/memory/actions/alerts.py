"""Alerts: send, acknowledge."""

from collections.abc import Sequence
from uuid import UUID

from memoryhub.core.access.labels import LabelRef
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.clock import now
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, FieldError, Invalid, NotAllowed, TooLarge
from memoryhub.core.ids import new_id
from memoryhub.core.ledger import events
from memoryhub.core.models import Membership
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory import models
from memoryhub.memory.actions.rows import label_for, repeated, store, task_of
from memoryhub.memory.schemas.alerts import MAX_RECIPIENTS, Alert, NewAlert
from memoryhub.memory.selectors import alerts as selectors

_DELIVER = """
insert into alert_recipient (alert_id, member_id) select %(id)s::uuid, unnest(%(recipients)s::uuid[])
"""


@action("alert.send", roles=AGENTS | DESK, scope="alerts")
def send(viewer: Viewer, *, to: Sequence[Membership], item: NewAlert, leave_out: bool = False) -> tuple[UUID, bool]:
    """Send an insight to other members, delivered until each acknowledges it; its id, and whether it is new.

    `to`: the members of the viewer's team that `item` names. `leave_out`: skip those who may not see it, instead of
    refusing. A repeated `client_ref` returns the first. The label defaults to the task's, else to internal. Raises
    NotAllowed (with the `names` that may not receive it, or when nobody is left), Forbidden above the sender's
    clearance, TooLarge beyond 1,000 recipients, Invalid for an expiry in the past, NoSuchTask.
    """
    task = task_of(viewer, item)
    label = label_for(viewer, item, task)
    if (known := repeated(viewer, models.Alert, label, item.client_ref)) is not None:
        return known, False
    if item.expires_at is not None and item.expires_at <= now():
        raise Invalid(errors=(FieldError("/expires_at", Code.OUT_OF_RANGE, "This expiry is in the past."),))
    recipients = _recipients(viewer, label, to, leave_out)
    row_id = store(
        viewer,
        "alert.send",
        Alert,
        label,
        item,
        task_id=task.id if task else None,
        data={"severity": item.severity, "recipients": len(recipients)},
        event_recipients=[viewer.membership, *recipients],
        recipients=recipients,
    )
    if row_id is None:
        known = repeated(viewer, models.Alert, label, item.client_ref)
        assert known is not None, "nothing removes it meanwhile"
        return known, False
    queue(_DELIVER, {"id": row_id, "recipients": recipients})
    return row_id, True


def _recipients(viewer: Viewer, label: LabelRef, to: Sequence[Membership], leave_out: bool) -> list[UUID]:
    fit = {member.id: member for member in to if member.id != viewer.membership and _may_see(member, label)}
    refused = sorted({member.name for member in to if member.id not in fit})
    if refused and not leave_out:
        raise NotAllowed(f"These members may not receive it: {', '.join(refused)}.", names=refused)
    if not fit:
        raise NotAllowed("Nobody in `to` may receive it.", names=[])
    if len(fit) > MAX_RECIPIENTS:
        raise TooLarge(f"An alert has at most {MAX_RECIPIENTS} recipients.")
    return list(fit)


def _may_see(member: Membership, label: LabelRef) -> bool:
    return member.clearance >= label.sensitivity and set(member.compartments) >= set(label.compartments)


# Of two concurrent requests, the second finds it acknowledged.
_ACKNOWLEDGE = """
update alert_recipient set acknowledged_at = statement_timestamp(), event_id = %(event)s::uuid
where alert_id = %(id)s::uuid and member_id = %(own)s::uuid and acknowledged_at is null returning id
"""
_ACKNOWLEDGED = "select event_id from alert_recipient where alert_id = %(id)s::uuid and member_id = %(own)s::uuid"


@action("alert.acknowledge", roles=AGENTS | DESK, scope="alerts")
def acknowledge(viewer: Viewer, *, alert_id: UUID) -> None:
    """Acknowledge an alert: it is no longer delivered, and its sender is notified. Idempotent.

    Raises NotFound when it was sent to others, is hidden or has expired; NotAllowed for its sender.
    """
    alert = selectors.find_alert(viewer, alert_id)
    if not alert.is_mine:
        raise NotAllowed("Only its recipients can acknowledge an alert.")
    event_id = new_id()
    own = {"id": alert_id, "own": viewer.membership, "event": event_id}
    if not run(_ACKNOWLEDGE, own):
        ((current().depends_on_event,),) = run(_ACKNOWLEDGED, own)
        return
    events.append(
        viewer,
        "alert.acknowledge",
        label=alert.label_id,
        row_type="alert",
        row_id=alert_id,
        task_id=alert.task_id,
        recipients=[viewer.membership, alert.author_id],
        event_id=event_id,
    )
