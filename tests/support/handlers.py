"""Outbox handlers for the tests, by the names of tests.settings. What they did is in the ledger, where all can look."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from memoryhub.core.access.labels import ensure_label
from memoryhub.core.ledger import events
from memoryhub.core.models import Event, Outbox, Sensitivity
from memoryhub.core.viewers import Viewer

MARK = "trial.mark"


def leave_a_mark(viewer: Viewer, job: Outbox) -> None:
    """Record that the job was done, and under which request id the logs would say so."""
    label = ensure_label(viewer, Sensitivity.INTERNAL)
    bound: dict[str, Any] = structlog.contextvars.get_contextvars()
    data = {"generation": job.generation, **{name: bound.get(name) for name in ("request_id", "job", "handler")}}
    events.append(viewer, MARK, label=label.id, row_type="trial", row_id=job.row_id, data=data)


def fail(viewer: Viewer, job: Outbox) -> None:
    """Leave a mark, and fail: the mark must be gone with it."""
    leave_a_mark(viewer, job)
    raise ZeroDivisionError("the word of a row")


def fail_twice(viewer: Viewer, job: Outbox) -> None:
    """Fail until the third attempt."""
    leave_a_mark(viewer, job)
    if job.attempts < 3:
        raise ZeroDivisionError


def prolong(viewer: Viewer, job: Outbox) -> datetime | None:
    """The first time: due again in an hour. Later: done."""
    leave_a_mark(viewer, job)
    return datetime.now(UTC) + timedelta(hours=1) if Event.objects.filter(row_id=job.row_id).count() == 0 else None


def only_the_newest(viewer: Viewer, job: Outbox) -> None:
    """Leave a mark unless a newer generation has been scheduled for the row."""
    if not Outbox.objects.filter(row_id=job.row_id, generation__gt=job.generation).exists():
        leave_a_mark(viewer, job)


def leave_a_mark_slowly(viewer: Viewer, job: Outbox) -> None:
    """Take long enough for a worker to be killed at it."""
    leave_a_mark(viewer, job)
    time.sleep(0.2)
