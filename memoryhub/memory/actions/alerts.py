"""Alerts: send, acknowledge."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryhub.core.access.labels import LabelRef
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, FieldError, Invalid, NotAllowed, TooLarge
from memoryhub.core.ids import new_id
from memoryhub.core.ledger import events
from memoryhub.core.models import Membership
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import now
from memoryhub.memory.actions.observations import label_for
from memoryhub.memory.selectors import alerts as selectors
from memoryhub.memory.selectors.tasks import TaskRef

MAX_RECIPIENTS = 1000

_SEND = """
insert into alert (id, team_id, label_id, sensitivity, body, sealed, author_id, event_id, task_id, severity, recipients,
                   expires_at, client_ref)
values (%(id)s::uuid, %(team)s::int, %(label)s::int, %(sensitivity)s::int, %(body)s::jsonb, %(sealed)s::bytea,
        %(author)s::uuid, %(event)s::uuid, %(task)s::uuid, %(severity)s::varchar, %(recipients)s::uuid[],
        %(expires_at)s::timestamptz, %(client_ref)s::varchar)
on conflict do nothing returning id
"""
_DELIVER = """
insert into alert_recipient (alert_id, member_id) select %(id)s::uuid, unnest(%(recipients)s::uuid[])
"""
_REPEATED = """
select id, event_id from alert
where author_id = %(author)s::uuid and label_id = %(label)s::int and client_ref = %(client_ref)s::varchar
"""


@action("alert.send", roles=AGENTS | DESK, scope="alerts")
def send(
    viewer: Viewer,
    *,
    to: Sequence[Membership],
    insight: str,
    severity: str = "info",
    leave_out: bool = False,
    task: TaskRef | None = None,
    expires_at: datetime | None = None,
    client_ref: str | None = None,
    sensitivity: int | None = None,
    compartments: Sequence[str] | None = None,
) -> tuple[UUID, bool]:
    """Send an insight to other members, until each acknowledges it; its id, and whether it was made now.

    `to`: members of the viewer's team. `leave_out`: those who may not see it are left out; else they are refused. A
    repeated `client_ref` returns the first. Without a label it has the task's, else internal.
    Raises NotAllowed (with the `names` that may not receive it, or when nobody is left), Forbidden above the sender's
    clearance, TooLarge beyond 1,000 recipients, Invalid for an expiry that is over.
    """
    label = label_for(viewer, sensitivity, compartments, task)
    if client_ref is not None and (repeated := _repeated(viewer, label, client_ref)) is not None:
        return repeated, False
    if expires_at is not None and expires_at <= now():
        raise Invalid(errors=(FieldError("/expires_at", Code.OUT_OF_RANGE, "This expiry is over already."),))
    recipients = _recipients(viewer, label, to, leave_out)
    row_id, event_id = new_id(), new_id()
    text = text_columns("alert", row_id, label, {"insight": insight})
    row: dict[str, Any] = {
        "id": row_id,
        "team": viewer.team,
        "label": label.id,
        "sensitivity": label.sensitivity,
        "body": Jsonb(text["body"]) if text["body"] is not None else None,
        "sealed": text["sealed"],
        "author": viewer.membership,
        "event": event_id,
        "task": task.id if task else None,
        "severity": severity,
        "recipients": recipients,
        "expires_at": expires_at,
        "client_ref": client_ref,
    }
    if not run(_SEND, row):
        assert client_ref is not None
        repeated = _repeated(viewer, label, client_ref)
        assert repeated is not None, "nothing removes it meanwhile"
        return repeated, False
    queue(_DELIVER, {"id": row_id, "recipients": recipients})
    events.append(
        viewer,
        "alert.send",
        label=label.id,
        row_type="alert",
        row_id=row_id,
        task_id=task.id if task else None,
        recipients=[viewer.membership, *recipients],
        data={"severity": severity, "recipients": len(recipients)},
        event_id=event_id,
    )
    return row_id, True


def _recipients(viewer: Viewer, label: LabelRef, to: Sequence[Membership], leave_out: bool) -> list[UUID]:
    fit = {member.id: member for member in to if member.id != viewer.membership and _may_see(member, label)}
    refused = sorted({member.name for member in to if member.id not in fit})
    if refused and not leave_out:
        raise NotAllowed(f"These may not receive it: {', '.join(refused)}.", names=refused)
    if not fit:
        raise NotAllowed("There is nobody there who may receive it.", names=[])
    if len(fit) > MAX_RECIPIENTS:
        raise TooLarge(f"An alert has at most {MAX_RECIPIENTS} recipients.")
    return list(fit)


def _may_see(member: Membership, label: LabelRef) -> bool:
    return member.clearance >= label.sensitivity and set(member.compartments) >= set(label.compartments)


def _repeated(viewer: Viewer, label: LabelRef, client_ref: str) -> UUID | None:
    asked = {"author": viewer.membership, "label": label.id, "client_ref": client_ref}
    for found, event_id in run(_REPEATED, asked):
        current().depends_on_event = event_id
        return UUID(str(found))
    return None


# Of two at once, one finds it acknowledged.
_ACKNOWLEDGE = """
update alert_recipient set acknowledged_at = statement_timestamp(), event_id = %(event)s::uuid
where alert_id = %(id)s::uuid and member_id = %(own)s::uuid and acknowledged_at is null returning id
"""
_ACKNOWLEDGED = "select event_id from alert_recipient where alert_id = %(id)s::uuid and member_id = %(own)s::uuid"


@action("alert.acknowledge", roles=AGENTS | DESK, scope="alerts")
def acknowledge(viewer: Viewer, *, alert_id: UUID) -> None:
    """Say that the alert was received: it is delivered no more, and its sender is told. Repeating it changes nothing.

    Raises NotFound for one that was sent to others, is hidden or has expired; NotAllowed for the sender.
    """
    alert = selectors.find_alert(viewer, alert_id)
    if not alert.is_mine:
        raise NotAllowed("An alert is acknowledged by those to whom it was sent.")
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
