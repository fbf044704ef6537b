"""Celery tasks of the index: once a second, for the teams with new events; and of vectors, where configured."""

import threading
import time

import structlog
from celery import shared_task
from django.conf import settings

from memoryhub.core.errors import describe
from memoryhub.memory.search import indexer, vector_indexer
from memoryhub.memory.search.vector_indexer import BatchOutcome

log = structlog.get_logger(__name__)

INDEX_SECONDS, EMBED_SECONDS = 5.0, 5.0  # a task ends within about this time; the next continues


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
    except Exception as error:  # one team's failure does not stop the others
        log.error("search_index_failed", team=team, **describe(error))
        return False


_embedding = threading.Lock()


@shared_task(name="memoryhub.memory.search.tasks.embed")
def embed() -> None:
    """Request vectors, each team in turn. At most one thread of a worker waits for the endpoint."""
    if not (settings.EMBEDDINGS_URL and vector_indexer.are_made()) or not _embedding.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + EMBED_SECONDS
        teams = vector_indexer.behind()
        while teams and time.monotonic() < deadline:
            teams = [team for team in teams if time.monotonic() < deadline and _embed(team)]
    finally:
        _embedding.release()


def _embed(team: int) -> bool:
    try:
        return vector_indexer.embed(team) is BatchOutcome.SENT
    except Exception as error:
        log.error("search_vectors_failed", team=team, **describe(error))
        return False
