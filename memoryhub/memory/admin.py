"""Read-only admin pages of the memory. Sealed text is opened on a row's own page only, and the read is recorded."""

from collections.abc import Iterator
from typing import Any, cast

from django.contrib import admin
from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.query import ModelIterable
from django.http import HttpRequest

from memoryhub.core.access.clearance import visible_to
from memoryhub.core.admin_base import LabelledAdmin, viewer_of_page
from memoryhub.memory.actions.leases import end_lease
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.models import Alert, Decision, Fact, Learning, Observation, Task
from memoryhub.memory.schemas.tasks import PERSONS
from memoryhub.memory.selectors.alerts import open_all

_STANDS = f"({PERSONS} or not human_owned and lease_expires_at > clock_timestamp())"


class _AsTheyAreNow(ModelIterable):
    """Shows a task whose lease or claim has ended without a holder, even before that is recorded."""

    def __iter__(self) -> Iterator[Task]:
        for row in super().__iter__():
            if not row.stands:
                end_lease(row)
            yield row


@admin.register(Task)
class TaskAdmin(LabelledAdmin):
    """The team's tasks, newest first."""

    fields = (
        *("key", "status", "label_text", "author", "created_at", "seq", "version", "reopen_count"),
        *("holder", "lease_expires_at", "human_owned", "ended_at", "text"),
    )
    list_display = ("key", "status", "label_text", "author", "holder", "created_at")
    list_select_related = (*LabelledAdmin.list_select_related, "holder")
    list_filter = ("status",)
    lookups = ("status__exact",)
    search_fields = ("key__exact",)
    search_help_text = "A task's whole key."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        stands = RawSQL(_STANDS, (), output_field=BooleanField())  # noqa: S611  (a constant)
        rows = cast(QuerySet[Any], super().get_queryset(request).annotate(stands=stands))
        rows._iterable_class = _AsTheyAreNow
        return rows


class OfTask(LabelledAdmin):
    """Rows of a task, whose key is shown where the viewer may see the task."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        tasks = visible_to(viewer_of_page(), Task.objects.filter(id=OuterRef("task_id")))
        rows = super().get_queryset(request).annotate(task_key=Subquery(tasks.values("key")[:1]))
        return cast(QuerySet[Any], rows)

    @admin.display(description="task")
    def task_text(self, row: Any) -> Any:
        """The task's key."""
        return row.task_key


@admin.register(Observation)
class ObservationAdmin(OfTask):
    """Observations, newest first; private ones only for their author."""

    fields = (
        *("task_text", "author", "label_text", "tags", "importance", "private", "pinned"),
        *("created_at", "seq", "occurred_at", "expires_at", "client_ref", "text"),
    )
    list_display = ("created_at", "task_text", "author", "label_text", "tags", "private")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(Q(private=False) | Q(author_id=viewer_of_page().membership))


@admin.register(Decision)
class DecisionAdmin(OfTask):
    """Decisions, newest first."""

    fields = (
        *("task_text", "author", "status", "outcome", "label_text", "action_key", "based_on", "supersedes"),
        *("created_at", "seq", "client_ref", "text"),
    )
    list_display = ("created_at", "task_text", "author", "status", "label_text", "action_key")


@admin.register(Alert)
class AlertAdmin(OfTask):
    """Alerts, newest first, whoever the recipients: an administrator may see all that the label allows."""

    fields = (
        *("task_text", "author", "severity", "label_text", "to_text", "created_at", "seq", "expires_at"),
        *("client_ref", "text"),
    )
    list_display = ("created_at", "severity", "author", "label_text", "task_text", "to_text")
    list_filter = ("severity",)
    lookups = ("severity__exact",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        open_all()
        return super().get_queryset(request)

    @admin.display(description="recipients")
    def to_text(self, row: Any) -> int:
        """The number of recipients."""
        return len(row.recipients)


@admin.register(Fact)
class FactAdmin(OfTask):
    """Facts, newest first, each with its newest version; including deleted ones, whose rows keep the version count."""

    fields = (
        *("key", "task_text", "author", "version", "deleted", "label_text"),
        *("created_at", "changed_at", "seq", "expires_at", "valid_from", "valid_to", "client_ref", "text"),
    )
    list_display = ("key", "task_text", "author", "version", "deleted", "label_text", "changed_at")
    search_fields = ("key__exact",)
    search_help_text = "A fact's whole key."


@admin.register(Learning)
class LearningAdmin(OfTask):
    """Learnings, newest first."""

    fields = (
        *("task_text", "author", "signal_type", "label_text", "source"),
        *("created_at", "seq", "client_ref", "text"),
    )
    list_display = ("created_at", "task_text", "author", "signal_type", "label_text")


class KindAdmin(OfTask):
    """Rows of a kind that has no page of its own, newest first."""

    fields = ("task_text", "author", "label_text", "created_at", "seq", "text")
    list_display = ("created_at", "task_text", "author", "label_text")


for _kind in KINDS.values():
    if not admin.site.is_registered(_kind.schema.model):
        admin.site.register(_kind.schema.model, KindAdmin)
