"""Celery tasks of the desk: pruning drafts, and the roll-up of the insights."""

import structlog
from celery import shared_task

from escalations.actions import drafts
from escalations.reports import roll_up
from memoryhub.core.errors import describe
from memoryhub.core.models import Team
from memoryhub.core.sweeps import sweep
from memoryhub.core.viewers import system_viewer

log = structlog.get_logger(__name__)

ROLL_UP_SECONDS = 1.0  # a task ends within about this time; the next continues. What is not rolled up is counted, too


@shared_task(name="escalations.tasks.prune_drafts")
def prune_drafts() -> None:
    """Delete old drafts in each team; a failure in one does not stop the others."""
    for team in Team.objects.values_list("id", flat=True):
        try:
            drafts.prune(system_viewer(team))
        except Exception as error:
            log.error("drafts_not_pruned", team=team, **describe(error))


@shared_task(name="escalations.tasks.roll_up_insights")
def roll_up_insights() -> None:
    """Follow the ledgers, each team in turn."""
    sweep(roll_up.behind(), roll_up.follow, seconds=ROLL_UP_SECONDS, failure="insights_not_rolled_up")
