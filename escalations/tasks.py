"""Celery tasks of the desk: pruning drafts."""

import structlog
from celery import shared_task

from escalations.actions import drafts
from memoryhub.core.errors import describe
from memoryhub.core.models import Team
from memoryhub.core.viewers import system_viewer

log = structlog.get_logger(__name__)


@shared_task(name="escalations.tasks.prune_drafts")
def prune_drafts() -> None:
    """Delete old drafts in each team; a failure in one does not stop the others."""
    for team in Team.objects.values_list("id", flat=True):
        try:
            drafts.prune(system_viewer(team))
        except Exception as error:
            log.error("drafts_not_pruned", team=team, **describe(error))
