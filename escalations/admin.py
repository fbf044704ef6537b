"""Admin pages of the desk: queues, and escalations (read-only)."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from escalations.actions import queues
from escalations.models import Escalation, Queue
from escalations.standing import as_they_are_now, in_states
from escalations.states import STATES
from memoryhub.core.admin_base import ActionForm, HubAdmin, LabelledAdmin, viewer_of_page


class QueueForm(ActionForm):
    """How a queue works."""

    shared = ("claim_minutes",)


@admin.register(Queue)
class QueueAdmin(HubAdmin):
    """The team's queues."""

    can_change = True
    form = QueueForm
    fields = ("name", "claim_minutes")
    readonly_fields = ("name",)
    list_display = ("name", "claim_minutes")
    ordering = ("name",)

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        queues.change(viewer_of_page(), queue=obj, **form.changes())


class StateFilter(admin.SimpleListFilter):
    """By state: states are data, not the choices of a column."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.replace("_", " ")) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = self.value()
        return in_states(queryset, {state}) if state in STATES else queryset


@admin.register(Escalation)
class EscalationAdmin(LabelledAdmin):
    """Escalations, newest first. They are answered on the desk, not here."""

    fields = (
        *("task", "state_name", "priority", "reason_code", "allowed", "label_text", "author", "created_at", "seq"),
        *("queue", "assigned_to", "owner", "claimed_at", "claim_expires_at", "round", "handed_back_at", "closed_at"),
        *("unacknowledged", "text"),
    )
    list_display = ("created_at", "task", "state_name", "priority", "reason_code", "label_text", "author", "owner")
    list_select_related = (*LabelledAdmin.list_select_related, "task", "owner")
    list_filter = (StateFilter,)
    lookups = (StateFilter.parameter_name,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return as_they_are_now(super().get_queryset(request))

    @admin.display(description="state")
    def state_name(self, obj: Escalation) -> str:
        return obj.state.replace("_", " ")
