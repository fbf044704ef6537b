"""Admin pages of agents and their keys. A key is shown once, in the response to the request that issued it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import localize

from agents.actions import agents, keys
from agents.models import DEFAULT_SCOPES, MAX_RATE_LIMIT, Agent, ApiKey, Scope
from memoryhub.core import idempotency
from memoryhub.core.admin_base import ActionForm, CompartmentsField, HubAdmin, viewer_of_page
from memoryhub.core.ids import new_id
from memoryhub.core.models import Membership, Role, Sensitivity


class AgentForm(ActionForm):
    """An agent, with the rights of its membership."""

    rights = ("clearance", "compartments", "is_active")
    shared = (*rights, "group", "description")
    clearance = forms.TypedChoiceField(
        choices=Sensitivity.choices,
        coerce=int,
        initial=Sensitivity.INTERNAL,
        help_text="At most your own. It applies to every key of the agent, also an older one.",
    )
    compartments = CompartmentsField()
    is_active = forms.BooleanField(required=False, initial=True, label="Active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            member = self.instance.membership
            for name in self.rights:
                self.initial[name] = getattr(member, name)


class NewAgentForm(AgentForm):
    """A new agent, whose name cannot be changed later."""

    name = forms.CharField(max_length=100, help_text="What the team calls it; unique in the team.")


@admin.register(Agent)
class AgentAdmin(HubAdmin):
    """The team's agents."""

    can_add = can_change = True
    team_path = "membership__team"
    form, add_form = AgentForm, NewAgentForm
    add_fields = ("name", "group", "description", "clearance", "compartments")
    fields = ("membership", "group", "description", "clearance", "compartments", "is_active", "seen")
    readonly_fields = ("membership", "seen")
    list_display = ("name", "group", "clearance", "compartments", "is_active", "seen")
    list_select_related = ("membership",)
    ordering = ("membership__name",)
    search_fields = ("membership__name", "group")

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        viewer, cleaned = viewer_of_page(), form.cleaned_data
        if change:
            agents.change(viewer, agent=obj, **form.changes())
        else:
            obj.membership = agents.add(viewer, **{name: cleaned[name] for name in self.add_fields}).membership

    @admin.display(description="name")
    def name(self, row: Agent) -> str:
        """What the team calls it."""
        return row.membership.name

    @admin.display(description="clearance")
    def clearance(self, row: Agent) -> str:
        """The highest level that it may read."""
        return row.membership.get_clearance_display()

    @admin.display(description="compartments")
    def compartments(self, row: Agent) -> str:
        """Its need-to-know words."""
        return ", ".join(row.membership.compartments)

    @admin.display(description="active", boolean=True)
    def is_active(self, row: Agent) -> bool:
        """Whether its keys work."""
        return row.membership.is_active

    @admin.display(description="last seen at")
    def seen(self, row: Agent) -> str:
        """When a key of it was last used."""
        return _when(row.membership, row.last_seen_at) or str(self.get_empty_value_display())


def _when(agent: Membership, used_at: datetime | None) -> str:
    """When an agent or its key was last used; empty above the viewer's clearance: it discloses hidden activity."""
    if used_at is None or not viewer_of_page().dominates(agent.clearance, agent.compartments):
        return ""
    return localize(timezone.localtime(used_at))


class OnceForm(ActionForm):
    """A form that issues no second key when its page is reloaded."""

    once = forms.UUIDField(required=False, initial=new_id, widget=forms.HiddenInput)


class NewKeyForm(OnceForm):
    """What a key is for."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in Scope.values], initial=DEFAULT_SCOPES, widget=forms.CheckboxSelectMultiple
    )
    days = forms.IntegerField(
        min_value=1, max_value=3650, required=False, label="Ends after days", help_text="Empty: it does not end."
    )
    rate_limit = forms.IntegerField(
        min_value=1,
        max_value=MAX_RATE_LIMIT,
        required=False,
        label="Requests a minute",
        help_text="Empty: as many as this installation allows each key.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents = Membership.objects.filter(team_id=viewer_of_page().team, role=Role.AGENT, is_active=True)
        self.fields["membership"] = forms.ModelChoiceField(agents.order_by("name"), label="Agent")


class KeyForm(OnceForm):
    """A key can only be revoked or rotated."""

    revoke = forms.BooleanField(required=False, help_text="It is refused from the next request on, for good.")
    rotate = forms.BooleanField(required=False, help_text="Issue a new key like it; this one expires.")
    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=keys.MOST_OVERLAP // timedelta(hours=1),
        initial=keys.OVERLAP // timedelta(hours=1),
        required=False,
        label="Works on for hours",
        help_text="How long a rotated key stays valid.",
    )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if cleaned and cleaned.get("revoke") and cleaned.get("rotate"):
            raise forms.ValidationError("Revoke it or rotate it: a revoked key has no overlap.")
        return cleaned


def _is_first(once: UUID | None) -> bool:
    """Whether this form is sent for the first time: a reloaded page sends its form again."""
    viewer = viewer_of_page()
    if once is None or viewer.credential is None:
        return True
    asked = idempotency.Repeatable.of(viewer.credential, f"form-{once}", "POST", "key", b"")
    if idempotency.replay(asked) is not None:
        return False
    idempotency.remember(asked, "issued")
    return True


@admin.register(ApiKey)
class ApiKeyAdmin(HubAdmin):
    """The keys of the team's agents."""

    can_add = can_change = True
    team_path = "membership__team"
    form, add_form = KeyForm, NewKeyForm
    add_fields = ("membership", "name", "scopes", "days", "rate_limit", "once")
    readonly_fields = (
        *("membership", "name", "prefix", "scopes", "rate_limit", "created_at", "expires_at", "used"),
        *("revoked_at", "replaced_by"),
    )
    fields = (*readonly_fields, "revoke", "rotate", "overlap_hours", "once")
    list_display = ("prefix", "membership", "name", "scopes", "created_at", "expires_at", "used", "revoked_at")
    list_select_related = ("membership",)
    ordering = ("-id",)
    search_fields = ("prefix__exact", "membership__name")

    @admin.display(description="last used at")
    def used(self, row: ApiKey) -> str:
        """When it was last used."""
        return _when(row.membership, row.last_used_at) or str(self.get_empty_value_display())

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        ended = isinstance(obj, ApiKey) and obj.revoked_at is not None
        return not ended and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        ended = isinstance(obj, ApiKey) and obj.revoked_at is not None
        return self.readonly_fields if ended else super().get_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        cleaned = form.cleaned_data
        if change and cleaned["revoke"]:
            keys.revoke(viewer_of_page(), key=obj)
        elif not change or cleaned["rotate"]:
            obj.shown_once = self._issue(obj, cleaned, change) if _is_first(cleaned["once"]) else None  # type: ignore[attr-defined]

    def _issue(self, obj: ApiKey, cleaned: dict[str, Any], change: bool) -> str:
        viewer, hours, days = viewer_of_page(), cleaned.get("overlap_hours"), cleaned.get("days")
        if change:
            overlap = keys.OVERLAP if hours is None else timedelta(hours=hours)
            return keys.rotate(viewer, key=obj, overlap=overlap)[1]
        made, key = keys.issue(
            viewer,
            member=cleaned["membership"],
            scopes=cleaned["scopes"],
            name=cleaned["name"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            rate_limit=cleaned["rate_limit"],
        )
        obj.pk = made.pk
        return key

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, obj)

    def response_change(self, request: HttpRequest, obj: ApiKey) -> HttpResponse:
        return self._show(request, obj) if hasattr(obj, "shown_once") else super().response_change(request, obj)

    def _show(self, request: HttpRequest, obj: ApiKey) -> HttpResponse:
        """The key itself, in this response only: one of Django's messages would be stored in a cookie or a session."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Key issued",
            "agent": obj.membership.name,
            "key": obj.shown_once,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/key_shown.html", context)
