"""Celery's side of the desk: what time does to it."""

import structlog
from celery import shared_task

from escalations.actions import drafts
from memoryhub.core.errors import describe
from memoryhub.core.models import Team
from memoryhub.core.viewers import system_viewer

log = structlog.get_logger(__name__)


@shared_task(name="escalations.tasks.prune_drafts")
def prune_drafts() -> None:
    """Forget old drafts in each team, which a failure of one team's keeps from no other."""
    for team in Team.objects.values_list("id", flat=True):
        try:
            drafts.prune(system_viewer(team))
        except Exception as error:
            log.error("drafts_not_pruned", team=team, **describe(error))
