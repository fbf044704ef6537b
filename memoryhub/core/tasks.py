"""Celery's side of the outbox: woken by id, swept by time. Nothing is known here of what the jobs do."""

import time
from uuid import UUID

import structlog
from celery import shared_task

from memoryhub.core import guessing
from memoryhub.core.actions import feed
from memoryhub.core.db import statements
from memoryhub.core.errors import describe
from memoryhub.core.ledger.mark import write_mark
from memoryhub.core.models import Team
from memoryhub.core.outbox.jobs import work_one
from memoryhub.core.viewers import system_viewer
from memoryhub.core.wake import WORK

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.5  # a sweep ends before the next begins


@shared_task(name=WORK)
def work(jobs: list[str]) -> None:
    """Do these jobs, unless another worker has them."""
    for job in jobs:
        work_one(UUID(job))


@shared_task(name="memoryhub.core.tasks.sweep")
def sweep() -> None:
    """Do what is due and was not woken: timers, lost wake-ups, jobs of a worker that died."""
    _beat()
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline and work_one():
        pass


def _beat() -> None:
    """Show that beat and worker live, in the database, where every web process looks."""
    statements.queue("select set_config('synchronous_commit', 'off', true)")  # of this trip
    statements.run("update heartbeat set at = statement_timestamp() where part = 'worker'")


@shared_task(name="memoryhub.core.tasks.prune_feeds")
def prune_feeds() -> None:
    """Raise the floor of each team's feed, which a failure of one team's keeps from no other."""
    for team in Team.objects.values_list("id", flat=True):
        try:
            feed.prune(system_viewer(team))
        except Exception as error:
            log.error("feed_not_pruned", team=team, **describe(error))


@shared_task(name="memoryhub.core.tasks.keep_mark")
def keep_mark() -> None:
    """Note beside the master key how far the ledgers have come."""
    write_mark()


@shared_task(name="memoryhub.core.tasks.prune")
def prune() -> None:
    """Remove what is over: done jobs after a day, idempotency records after 24 hours, ended sessions, old counts."""
    statements.run("delete from outbox where done_at < statement_timestamp() - interval '1 day'")
    statements.run("delete from idempotency where created_at < statement_timestamp() - interval '24 hours'")
    statements.run("delete from django_session where expire_date < statement_timestamp()")
    guessing.prune()
