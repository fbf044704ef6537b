"""Celery tasks of the index: once a second, for the teams with new events; and of vectors, where configured."""

import threading

from celery import shared_task
from django.conf import settings

from memoryhub.core.sweeps import sweep
from memoryhub.memory.search import indexer, upgrade, vector_indexer
from memoryhub.memory.search.vector_indexer import BatchOutcome

INDEX_SECONDS, UPGRADE_SECONDS, EMBED_SECONDS = 5.0, 2.0, 5.0  # a task ends within about this time; the next continues


@shared_task(name="memoryhub.memory.search.tasks.index")
def index() -> None:
    """Follow the ledgers, each team in turn, so that a busy one does not hold up the others."""
    sweep(indexer.behind(), indexer.follow, seconds=INDEX_SECONDS, failure="search_index_failed")


@shared_task(name="memoryhub.memory.search.tasks.upgrade_index")
def upgrade_index() -> None:
    """Index anew, after an upgrade, what an earlier edition has indexed; each team in turn."""
    sweep(upgrade.outdated(), upgrade.upgrade, seconds=UPGRADE_SECONDS, failure="search_upgrade_failed")


_embedding = threading.Lock()


@shared_task(name="memoryhub.memory.search.tasks.embed")
def embed() -> None:
    """Request vectors, each team in turn. At most one thread of a worker waits for the endpoint."""
    if not (settings.EMBEDDINGS_URL and vector_indexer.are_made()) or not _embedding.acquire(blocking=False):
        return
    try:
        sweep(
            vector_indexer.behind(),
            lambda team: vector_indexer.embed(team) is BatchOutcome.SENT,
            seconds=EMBED_SECONDS,
            failure="search_vectors_failed",
        )
    finally:
        _embedding.release()
