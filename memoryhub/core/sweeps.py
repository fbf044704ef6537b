"""Background work for all teams, each in turn: a busy team, or one where it fails, does not hold up the others."""

import random
import time
from collections.abc import Callable, Sequence

import structlog

from memoryhub.core.errors import describe

log = structlog.get_logger(__name__)


def sweep(teams: Sequence[int], step: Callable[[int], bool], *, seconds: float, failure: str) -> None:
    """Take one step in each team, round after round, while it reports more, for `seconds`.

    The teams come in random order, so that no team is always among those that the time does not reach. A team where it
    fails, which is logged as `failure`, is left to the next sweep.
    """
    deadline = time.monotonic() + seconds
    while teams:
        more = []
        for team in random.sample(teams, len(teams)):
            if time.monotonic() >= deadline:
                return
            if _goes_on(team, step, failure):
                more.append(team)
        teams = more


def _goes_on(team: int, step: Callable[[int], bool], failure: str) -> bool:
    try:
        return step(team)
    except Exception as error:
        log.error(failure, team=team, **describe(error))
        return False
