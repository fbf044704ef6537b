"""Celery's side of the index: once a second, for the teams whose ledger went on."""

import time

import structlog
from celery import shared_task

from memoryhub.core.failures import describe
from memoryhub.memory.search import indexer

log = structlog.get_logger(__name__)

INDEX_SECONDS = 5.0  # a task ends within about this time; the next goes on


@shared_task(name="memoryhub.memory.search.tasks.index")
def index() -> None:
    """Follow the ledgers, each team in turn, so that a busy one does not hold up the others."""
    deadline = time.monotonic() + INDEX_SECONDS
    teams = indexer.behind()
    while teams and time.monotonic() < deadline:
        teams = [team for team in teams if _follow(team)]


def _follow(team: int) -> bool:
    try:
        return indexer.follow(team)
    except Exception as error:  # one team's trouble is not the others'
        log.error("search_index_failed", team=team, **describe(error))
        return False
