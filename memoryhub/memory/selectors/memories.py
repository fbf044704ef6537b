"""Reading observations and decisions: by filter, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import F, QuerySet

from memoryhub.core.access import visible_to
from memoryhub.core.models import seq_of_row
from memoryhub.core.viewers import Viewer
from memoryhub.memory.models import Decision, Observation

Row = TypeVar("Row", Observation, Decision)


@dataclass(slots=True)
class Filters:
    """What a list is narrowed by. `tags_mode`: all or any of the tags."""

    task: UUID | None = None
    tags: Sequence[str] = ()
    tags_mode: str = "all"
    agent: str | None = None
    exclude_agent: str | None = None
    exclude_own: bool = False
    since: datetime | None = None
    until: datetime | None = None
    after_seq: int | None = None
    min_importance: float | None = None


def observations(viewer: Viewer, filters: Filters) -> QuerySet[Observation]:
    """The visible observations, newest first by id. Expired ones are left out, also before they are removed."""
    rows = visible_to(viewer, Observation.objects.annotate(seq=seq_of_row(), author_name=F("author__name")))
    rows = rows.extra(where=["(expires_at is null or expires_at > statement_timestamp())"])  # noqa: S610
    if filters.task is not None:
        rows = rows.filter(task_id=filters.task)
    if filters.tags:
        rows = rows.filter(**{"tags__contains" if filters.tags_mode == "all" else "tags__overlap": list(filters.tags)})
    if filters.min_importance is not None:
        rows = rows.filter(importance__gte=filters.min_importance)
    return _narrow(viewer, rows, filters).order_by("-id")


def decisions(viewer: Viewer, filters: Filters) -> QuerySet[Decision]:
    """The visible decisions, newest first by id."""
    rows = visible_to(viewer, Decision.objects.annotate(seq=seq_of_row(), author_name=F("author__name")))
    if filters.task is not None:
        rows = rows.filter(task_id=filters.task)
    return _narrow(viewer, rows, filters).order_by("-id")


def _narrow(viewer: Viewer, rows: QuerySet[Row], filters: Filters) -> QuerySet[Row]:
    if filters.agent is not None:
        rows = rows.filter(author__name=filters.agent)
    if filters.exclude_agent is not None:
        rows = rows.exclude(author__name=filters.exclude_agent)
    if filters.exclude_own:
        rows = rows.exclude(author_id=viewer.membership)
    if filters.since is not None:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.until is not None:
        rows = rows.filter(created_at__lt=filters.until)
    if filters.after_seq is not None:
        rows = rows.filter(clock__seq__gt=filters.after_seq)
    return rows


def open_private(task: UUID) -> None:
    """Let this transaction read the task's private observations. The caller has checked the claim and records it."""
    with connection.cursor() as cursor:
        cursor.execute("select set_config('hub.opened_task', %s, true)", [str(task)])
