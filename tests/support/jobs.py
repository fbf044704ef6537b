"""Jobs of the outbox as tests do them: the session's Celery worker may sweep the same table meanwhile."""

import time
from datetime import datetime

from django.db import connection

from memoryhub.core.models import Outbox
from memoryhub.core.outbox import jobs


def database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        return cursor.fetchone()[0]


def work(job: Outbox) -> None:
    """Do a job that is due; where the worker has it in hand just now, wait until that one has done it."""
    end = time.monotonic() + 60
    while not jobs.work_one(job.id):
        found = Outbox.objects.get(id=job.id)
        if found.claimed_until is None and (found.done_at or found.due_at > database_time()):
            return
        assert time.monotonic() < end, "nobody does it"
        time.sleep(0.05)
