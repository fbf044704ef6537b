"""Celery tasks of the memory: leases and observations that expire.

Due times are in the rows, on the database's clock: a lost beat only delays the work until the next one.
"""

from collections.abc import Callable

from celery import shared_task

from memoryhub.core.db.statements import run
from memoryhub.core.sweeps import sweep
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import leases, retention

LEASES = 100  # per transaction; each is an event, and events are numbered under the team's lock
OBSERVATIONS = 500  # per transaction


@shared_task(name="memoryhub.memory.tasks.run_out_leases")
def run_out_leases() -> None:
    """End the expired leases of all teams."""
    _sweep("teams_with_leases_run_out", lambda viewer: leases.run_out(viewer, limit=LEASES) == LEASES, seconds=1)


@shared_task(name="memoryhub.memory.tasks.expire_observations")
def expire_observations() -> None:
    """Remove the expired observations of all teams."""
    _sweep(
        "teams_with_expired_observations",
        lambda viewer: retention.expire(viewer, limit=OBSERVATIONS) == OBSERVATIONS,
        seconds=30,
    )


def _sweep(finder: str, step: Callable[[Viewer], bool], *, seconds: float) -> None:
    """Run one small transaction in each team that `finder` returns, in turn, while `step` reports more."""
    teams = [team for (team,) in run(f"select {finder}()")]
    sweep(teams, lambda team: step(system_viewer(team)), seconds=seconds, failure="sweep_failed")
