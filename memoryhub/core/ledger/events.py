"""The one `append()`: every change leaves exactly one event per label in its team's ledger. And how that stands."""

import functools
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string
from psycopg.types.json import Jsonb

from memoryhub.core.db.statements import run
from memoryhub.core.ids import new_id
from memoryhub.core.ledger.lives import SPAN, Ledger
from memoryhub.core.outbox import jobs
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer


@functools.cache
def _reactions() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = import_string(settings.REACTIONS)
    return table


def append(
    viewer: Viewer,
    type: str,
    *,
    label: int,
    row_type: str,
    row_id: UUID | None,
    task_id: UUID | None = None,
    audience: UUID | None = None,
    recipients: Collection[UUID] | None = None,
    people: bool = False,
    data: dict[str, Any] | None = None,
    event_id: UUID | None = None,
) -> UUID:
    """Record a change and return the event's id, which the changed rows carry as their clock.

    `type` is the verb (`observation.log`); `data` holds small typed fields, never content. The event is written at the
    end of the transaction (`event_id`: its id, where the rows were written first) and numbered inside COMMIT. What
    config.reactions names for its type becomes outbox rows beside it. `audience`, `recipients`: the member, or members,
    who alone may hear of it; `people`: no agent may.
    Raises RuntimeError outside a writable transaction of this viewer.
    """
    transaction = current()
    if transaction.read_only or transaction.viewer != viewer:
        raise RuntimeError("This transaction may not write to the ledger.")
    event_id = event_id or new_id()
    transaction.events.append(
        {
            "id": event_id,
            "team": viewer.team,
            "label": label,
            "type": type,
            "actor": viewer.membership,
            "row_type": row_type,
            "row_id": row_id,
            "task": task_id,
            "audience": audience,
            "recipients": None if recipients is None else list(recipients),
            "people": people,
            "data": Jsonb(data or {}),
        }
    )
    for handler in _reactions().get(type, ()):
        jobs.schedule(viewer, handler, row_id=row_id)
    return event_id


def read_ledger(viewer: Viewer) -> Ledger:
    """How the ledger of the viewer's team stands: its last `seq`, its floor, its lives."""
    with viewer_transaction(viewer, read_only=True):
        (row,) = run(SPAN, {"team": viewer.team})
    return Ledger.of(row)
