"""Celery's side of the memory: what time does to it.

Due times stand in the rows, on the database's clock; a beat that is lost costs a moment, and the next one does it.
"""

import time
from collections.abc import Callable

import structlog
from celery import shared_task
from django.db import connection

from memoryhub.core.errors import describe
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import leases, retention

log = structlog.get_logger(__name__)

LEASES = 100  # a transaction; each is an event, and their numbering is under the team's lock
OBSERVATIONS = 500  # a transaction


@shared_task(name="memoryhub.memory.tasks.run_out_leases")
def run_out_leases() -> None:
    """End the leases of all teams whose time is over."""
    _sweep("teams_with_leases_run_out", lambda viewer: leases.run_out(viewer, limit=LEASES) == LEASES, seconds=1)


@shared_task(name="memoryhub.memory.tasks.expire_observations")
def expire_observations() -> None:
    """Remove what has expired, in all teams."""
    _sweep(
        "teams_with_expired_observations",
        lambda viewer: retention.expire(viewer, limit=OBSERVATIONS) == OBSERVATIONS,
        seconds=30,
    )


def _sweep(finder: str, step: Callable[[Viewer], bool], *, seconds: float) -> None:
    """Do one small transaction in each team that `finder` names, in turn, while `step` says that there is more.

    A team where it fails is left for the next time, and keeps no other one waiting.
    """
    deadline = time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute(f"select {finder}()")
        teams = [team for (team,) in cursor.fetchall()]
    while teams and time.monotonic() < deadline:
        teams = [team for team in teams if _goes_on(team, step)]


def _goes_on(team: int, step: Callable[[Viewer], bool]) -> bool:
    try:
        return step(system_viewer(team))
    except Exception as error:
        log.error("sweep_failed", team=team, **describe(error))
        return False
