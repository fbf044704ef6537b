"""Work for later: rows beside the change that caused them, done once though they are delivered at least once."""

import functools
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

from memoryhub.core.db import durability, statements
from memoryhub.core.errors import Unconfirmed, describe
from memoryhub.core.ids import new_id
from memoryhub.core.models import Outbox
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15  # a worker that has not finished by then is taken for dead; if it lives, the row lock keeps it once

_CLAIM = """
update outbox set claimed_until = statement_timestamp() + make_interval(secs => %(lease)s), attempts = attempts + 1
where id = (select id from outbox where done_at is null and due_at <= statement_timestamp()
              and (claimed_until is null or claimed_until < statement_timestamp())
              and (%(id)s::uuid is null or id = %(id)s::uuid)
            order by due_at limit 1 for no key update skip locked)
returning id
"""
# A failed job waits 2, 4, 8 … seconds, at most ten minutes, and is never dropped.
_FAILED = """
update outbox set claimed_until = null, failure = %s,
       due_at = statement_timestamp() + make_interval(secs => least(600, 2 ^ least(attempts, 10)))
where id = %s and done_at is null
"""


def schedule(
    viewer: Viewer, handler: str, *, row_id: UUID | None, due_at: datetime | None = None, generation: int = 0
) -> None:
    """Add a job to this transaction. `handler`: one of config.reactions.HANDLERS; due at once without `due_at`.

    Raises LookupError for a handler that there is not.
    """
    _handler(handler)
    job = Outbox(id=new_id(), team_id=viewer.team, handler=handler, row_id=row_id, generation=generation)
    job.request_id = viewer.request_id
    if due_at is None:
        current().due.append(job.id)
    else:
        job.due_at = due_at
    current().jobs.append(job)


def work_one(job_id: UUID | None = None) -> bool:
    """Do one due job (the given one, or the longest due). False when there is none free.

    The handler's changes and `done_at` are one transaction, so a job done twice changes things once.
    """
    try:
        # Its own COMMIT waits for the standbys: what a job was made for is durable before anything is done about it.
        with durability.waiting():
            statements.queue("select set_config('synchronous_commit', 'on', true)")
            claimed = statements.run(_CLAIM, {"lease": LEASE_SECONDS, "id": job_id})
    except Unconfirmed:
        return False
    if not claimed:
        return False
    job = Outbox.objects.get(id=claimed[0][0])
    with structlog.contextvars.bound_contextvars(request_id=job.request_id, job=str(job.id), handler=job.handler):
        _work(job)
    return True


def _work(job: Outbox) -> None:
    try:
        with viewer_transaction(system_viewer(job.team_id)):
            if not _lock(job):
                return
            again_at = _handler(job.handler)(system_viewer(job.team_id), job)
            _finish(job, again_at)
    except Unconfirmed:  # not done, or done and committed here: the row tells, and the job did not fail
        statements.run("update outbox set claimed_until = null where id = %s and done_at is null", [job.id])
    except Exception as error:
        log.error("outbox_job_failed", attempts=job.attempts, **describe(error))
        statements.run(_FAILED, [type(error).__name__[:200], job.id])


@functools.cache
def _handler(name: str) -> Callable[[Viewer, Outbox], datetime | None]:
    """The handler of this name, or of the one that an older version gave it. Raises LookupError."""
    known, old = import_string(settings.OUTBOX_HANDLERS), import_string(settings.OLD_OUTBOX_HANDLERS)
    path = known.get(old.get(name, name))
    if path is None:
        raise LookupError("no such handler")
    handler: Callable[[Viewer, Outbox], datetime | None] = import_string(path)
    return handler


def _lock(job: Outbox) -> bool:
    """Take the row for this transaction; False when another worker has finished it since."""
    return bool(Outbox.objects.select_for_update(no_key=True).filter(id=job.id, done_at__isnull=True))


def _finish(job: Outbox, again_at: datetime | None) -> None:
    """Mark it done; or, when the handler returned a time, due again then (a lease that was prolonged)."""
    statements.run(
        "update outbox set claimed_until = null, failure = '', due_at = coalesce(%(again)s, due_at),"
        " done_at = case when %(again)s::timestamptz is null then statement_timestamp() end where id = %(id)s",
        {"again": again_at, "id": job.id},
    )
