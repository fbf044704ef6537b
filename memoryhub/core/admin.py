"""Admin pages of the kernel: teams and people (in the installation's team), memberships, ledger, access log, outbox."""

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest

from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.delegation import administers_installation, installers
from memoryhub.core.actions import compartments, memberships, people, teams
from memoryhub.core.actions.memberships import HUMAN_ROLES
from memoryhub.core.admin_base import ActionForm, CompartmentsField, HubAdmin, ReadOnlyAdmin, viewer_of_page
from memoryhub.core.models import (
    SYSTEM_TEAM,
    AccessLog,
    Actor,
    ActorKind,
    Compartment,
    DecisionsChangedBy,
    Event,
    Labelled,
    Membership,
    Outbox,
    Sensitivity,
    SignInRecord,
    Team,
)

_HELP = {field.name: str(field.help_text) for field in Team._meta.fields}


class TeamForm(ActionForm):
    """A team's name and rules."""

    shared = teams.RULES
    acknowledge_hours = forms.IntegerField(min_value=1, max_value=720, help_text=_HELP["acknowledge_hours"])
    feed_days = forms.IntegerField(min_value=1, max_value=3650, help_text=_HELP["feed_days"])
    # Left out, it stays as it is.
    decisions_changed_by = forms.ChoiceField(
        choices=DecisionsChangedBy.choices, required=False, help_text=_HELP["decisions_changed_by"]
    )

    def clean_decisions_changed_by(self) -> str | None:
        return self.cleaned_data["decisions_changed_by"] or None


@admin.register(Team)
class TeamAdmin(HubAdmin):
    """Every team of the installation."""

    in_system, in_teams, can_add, can_change = True, False, True, True
    form, add_form = TeamForm, ActionForm
    add_fields = ("slug", "name")
    fields = ("slug", *teams.RULES)
    readonly_fields = ("slug",)
    list_display = ("slug", "name", "created_at")
    ordering = ("slug",)
    search_fields = ("slug", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return Team.objects.order_by("slug")

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        viewer = viewer_of_page()
        if change:
            teams.change(viewer, team=obj, **form.changes())
        else:
            obj.pk = teams.add(viewer, slug=obj.slug, name=obj.name).pk


class PasswordField(forms.CharField):
    """A new password, as it is typed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(required=False, max_length=200, strip=False, widget=widget, **kwargs)


class PersonForm(ActionForm):
    """An account. A password is set when both fields are filled; its rules are tested by the action."""

    shared = ("email", "is_active", "is_staff", "is_superuser")
    is_superuser = forms.BooleanField(
        required=False,
        label="Superuser status",
        help_text="Administers the installation, its teams and people, as an administrator of the team System.",
    )
    add_to_team = forms.ModelChoiceField(
        Team.objects.exclude(slug=SYSTEM_TEAM).order_by("slug"),
        required=False,
        to_field_name="slug",
        help_text="Puts the person on this team's list: not active, a reader cleared for public. An administrator of "
        "the team makes them active and says what they may see.",
    )
    password1 = PasswordField(
        label="Password", help_text="At least 12 characters. Setting one ends the person's sessions."
    )
    password2 = PasswordField(label="Password again")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial["is_superuser"] = administers_installation(self.instance.pk)

    def clean_password2(self) -> str:
        """The same twice."""
        again: str = self.cleaned_data["password2"]
        if self.cleaned_data.get("password1", "") != again:
            raise forms.ValidationError("The two passwords differ.")
        return again


class InstallerFilter(admin.SimpleListFilter):
    """Who administers the installation."""

    title, parameter_name = "superuser status", "superuser"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Yes"), ("0", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(administers=self.value() == "1") if self.value() in ("0", "1") else queryset


@admin.register(Actor)
class PersonAdmin(HubAdmin):
    """The people of the installation. What they may do is in their memberships."""

    in_system, in_teams, can_add, can_change = True, False, True, True
    form = PersonForm
    add_fields = ("username", "email", "is_staff", "is_superuser", "add_to_team", "password1", "password2")
    fields = ("username", "email", "is_active", "is_staff", "is_superuser", "add_to_team", "password1", "password2")
    readonly_fields = ("username",)
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", InstallerFilter)
    lookups = ("is_active__exact", InstallerFilter.parameter_name)
    ordering = ("username",)
    search_fields = ("username", "email")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        administers = Exists(installers().filter(actor_id=OuterRef("id")))
        return Actor.objects.filter(kind=ActorKind.HUMAN).annotate(administers=administers).order_by("username")

    @admin.display(description="superuser status", boolean=True)
    def is_superuser(self, row: Any) -> bool:
        """Whether they administer the installation."""
        return bool(row.administers)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = super().get_fields(request, obj)
        is_own = obj is not None and obj.pk == viewer_of_page().actor  # whose password people.set_password refuses
        return [name for name in fields if not (is_own and name.startswith("password"))]

    def save_model(self, request: HttpRequest, obj: Actor, form: Any, change: bool) -> None:
        viewer = viewer_of_page()
        password = form.cleaned_data["password1"]
        team = form.cleaned_data["add_to_team"]
        if not change:
            rights = {"is_staff": obj.is_staff, "is_superuser": form.cleaned_data["is_superuser"]}
            new = people.add(viewer, username=obj.username, password=password or None, email=obj.email, **rights)
            obj.pk = new.pk
        else:
            people.change(viewer, person=obj, **form.changes())
        if team is not None:
            people.join(viewer, person=obj, team=team)
        if change and password:
            people.set_password(viewer, person=obj, password=password)


class MembershipForm(ActionForm):
    """A person's rights in the team."""

    shared = ("role", "clearance", "compartments", "is_active")
    role = forms.ChoiceField(choices=[(role.value, role.label) for role in HUMAN_ROLES])
    compartments = CompartmentsField()


class NewMembershipForm(MembershipForm):
    """Somebody with an account, by user name. For the installation's administrators only, who may know who has one."""

    username = forms.CharField(max_length=150, label="User name", help_text="Of somebody who has an account.")

    def clean_username(self) -> Actor:
        """The active account."""
        found = Actor.objects.filter(
            username=self.cleaned_data["username"], kind=ActorKind.HUMAN, is_active=True
        ).first()
        if found is None:
            raise forms.ValidationError("Nobody who is active has this user name.")
        return found


@admin.register(Membership)
class MembershipAdmin(HubAdmin):
    """The members of the active team. Agents are changed on pages of their own."""

    in_system = can_add = can_change = True
    form, add_form = MembershipForm, NewMembershipForm
    add_fields = ("username", "name", "role", "clearance", "compartments")
    fields = ("actor", "name", "role", "clearance", "compartments", "is_active")
    readonly_fields = ("actor", "name")
    list_display = ("name", "account", "role", "clearance", "compartments", "is_active")
    list_select_related = ("actor",)
    list_filter = ("role", "is_active")
    lookups = ("role__exact", "is_active__exact")
    ordering = ("name",)
    search_fields = ("name", "actor__username")

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Before any name is looked up: a team's administrator cannot ask which accounts there are elsewhere.
        return super().has_add_permission(request) and administers_installation(viewer_of_page().actor)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        is_person = not isinstance(obj, Membership) or obj.actor.kind == ActorKind.HUMAN
        return is_person and super().has_change_permission(request, obj)

    @admin.display(description="account", ordering="actor__username")
    def account(self, row: Membership) -> str:
        """The user name of a person; an agent's is a number that nobody types."""
        return row.actor.username if row.actor.kind == ActorKind.HUMAN else ""

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        viewer = viewer_of_page()
        if change:
            memberships.change(viewer, member=obj, **form.changes())
        else:
            rights: dict[str, Any] = {"role": obj.role, "clearance": obj.clearance, "compartments": obj.compartments}
            obj.actor = form.cleaned_data["username"]
            obj.pk = memberships.add(viewer, actor=obj.actor, name=obj.name, **rights).pk


@admin.register(Compartment)
class CompartmentAdmin(HubAdmin):
    """The need-to-know words of the active team. Who makes one has it, and gives it to members and agents."""

    can_add = True
    add_fields = ("name",)
    fields = list_display = readonly_fields = ("name", "maker", "created_at")
    list_select_related = ("maker",)
    ordering = ("name",)

    def save_model(self, request: HttpRequest, obj: Compartment, form: Any, change: bool) -> None:
        obj.pk = compartments.add(viewer_of_page(), name=obj.name).pk


class RecordAdmin(ReadOnlyAdmin):
    """What is only ever read, in the installation's team as well."""

    in_system = True


_IDS = ("agent", "membership", "given_to")


@admin.register(Event)
class EventAdmin(RecordAdmin):
    """The ledger, newest first."""

    fields = ("seq", "type", "actor", "at", "label_text", "row_type", "row_id", "task_id", "told", "data")
    list_display = ("seq", "at", "type", "actor", "told", "label_text", "row_id")
    list_select_related = ("actor", "clock")
    ordering = ("-clock__seq",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        viewer = viewer_of_page()
        rows = super().get_queryset(request).filter(clock__team_id=viewer.team)  # by the clock's index
        rows = rows.filter(Q(audience=None) | Q(audience_id=viewer.membership))
        return rows.filter(Q(recipients=None) | Q(recipients__contains=[viewer.membership]))

    @admin.display(description="what", empty_value="")
    def told(self, row: Event) -> str:
        """Its fields in words, of a change the earlier value, too: `role: support → lead`."""
        before = row.data.get("before", {})
        # Ids are left to the row's own page. First whom it is about, then what changed.
        fields = [(field, value) for field, value in row.data.items() if field not in ("before", *_IDS)]
        fields.sort(key=lambda field: (field[0] != "name", field[0] not in before))
        told = [
            f"{field}: {_word(field, before[field])} → {_word(field, value)}"
            if field in before
            else f"{field}: {_word(field, value)}"
            for field, value in fields
        ]
        return ", ".join(told)


def _word(field: str, value: Any) -> str:
    if field == "clearance" and value in Sensitivity.values:
        return str(Sensitivity(value).label)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", []):
        return "none"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


@admin.register(AccessLog)
class AccessLogAdmin(RecordAdmin):
    """Who opened what is confidential, newest first."""

    fields = list_display = ("at", "reader", "reason", "label_text", "row_type", "row_id")
    list_select_related = ("reader",)


@admin.register(Outbox)
class OutboxAdmin(RecordAdmin):
    """Work for later, and how it went: that of members, and of what the viewer may see (when it is due tells of it)."""

    fields = (
        *("handler", "row_id", "generation", "created_at", "due_at", "attempts", "claimed_until", "done_at", "failure"),
    )
    list_display = ("handler", "due_at", "attempts", "done_at", "failure")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        viewer = viewer_of_page()
        labelled = [model for model in apps.get_models() if issubclass(model, Labelled)]
        seen = [visible_to(viewer, model._default_manager.all()) for model in labelled]
        about = Q(row_id=None)
        for rows in (Membership.objects.all(), Actor.objects.all(), *seen):
            about |= Q(Exists(rows.filter(id=OuterRef("row_id"))))
        return super().get_queryset(request).filter(about)


@admin.register(SignInRecord)
class SignInRecordAdmin(RecordAdmin):
    """What happened at the sign-in page, newest first: for the installation's administrators."""

    in_teams = False
    fields = ("kind", "account", "address", "times", "first_at", "last_at")
    list_display = ("last_at", "kind", "account", "address", "times", "first_at")
    list_filter = ("kind",)
    lookups = ("kind__exact",)
    list_select_related = ("actor",)
    ordering = ("-hour", "-last_at", "-id")
    search_fields = ("actor__username", "address")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return SignInRecord.objects.order_by(*self.ordering)

    @admin.display(description="account")
    def account(self, row: SignInRecord) -> str:
        """Whose; names that nobody has are not kept, since people type passwords there."""
        return row.actor.username if row.actor else "(no such account)"
