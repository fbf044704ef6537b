"""What every admin page shares: the viewer's rows only, changes through actions only, nothing deleted, lists bounded.

interface.pages.admin runs each page inside the viewer's transaction; what an action refuses is shown on the form.
"""

import json
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.admin import ModelAdmin, ShowFacets, display
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.functional import cached_property

from memoryhub.core import unseen
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.label_text import read_compartments
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.errors import HubError
from memoryhub.core.models import SYSTEM_TEAM, Labelled
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer

MOST_ROWS = 10_000
MOST_TEXT = 600_000  # characters of a row's text: one that cannot be seen takes twelve bytes of the page
# Where the site puts what an action refused, for the form of the second try.
REFUSAL = "hub_refusal"


class BoundedPaginator(Paginator):
    """Counts and pages at most MOST_ROWS rows, so that a list of millions costs what a short one costs."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, at most MOST_ROWS."""
        rows = self.object_list
        return rows[:MOST_ROWS].count() if isinstance(rows, QuerySet) else len(rows)


class CompartmentsField(forms.CharField):
    """Need-to-know words, separated by commas; a sorted list."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", "Need-to-know words, separated by commas, such as finance, pii.")
        super().__init__(required=False, max_length=900, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        try:
            return read_compartments(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class ActionForm(forms.ModelForm):
    """A form whose saving is an action. On the second try it shows what the action refused on the first."""

    refusal: ClassVar[HubError | None] = None
    # What somebody else may change while the page is open: it carries what it showed of these.
    shared: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            for name in self.fields.keys() & set(self.shared):
                self.fields[name].show_hidden_initial = True

    def changes(self) -> dict[str, Any]:
        """What of `shared` is not as the page showed it; all of it where the page did not say what it showed."""
        untold = {name for name in self.shared if self.add_initial_prefix(name) not in self.data}
        return {name: self.cleaned_data[name] for name in untold.union(self.changed_data).intersection(self.shared)}

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for name, value in list(self.cleaned_data.items()):
            if isinstance(value, str) and not isinstance(self.fields[name].widget, forms.PasswordInput):
                self.cleaned_data[name] = self._as_meant(name, value)
        if self.refusal is not None:
            raise forms.ValidationError(self.refusal.detail)
        return cleaned

    def _as_meant(self, name: str, value: str) -> str:
        """A text without what a browser and this page made of it: what was not touched stays exactly as it was."""
        sent, initial = self.data.get(self.add_prefix(name)), self.initial.get(name)
        if isinstance(sent, str) and isinstance(initial, str) and _lines(sent) == unseen.show(initial):
            return initial
        return unseen.read(_lines(value))


def _lines(text: str) -> str:
    """What a browser sends of a text, with a line feed for each end of a line."""
    return text.replace("\r\n", "\n")


class InItsOrder(ChangeList):
    """A list in its own order. Django sorts by any column that is shown (`?o=3`), whatever `sortable_by` says: also by
    what a column keeps from this reader.
    """

    def get_ordering_field(self, field_name: Any) -> None:
        return None


class HubAdmin(ModelAdmin):
    """Rows of the active team, for looking. A subclass that can add or change says so; its save_model calls actions."""

    in_system, in_teams = False, True  # shown in the installation's own team; in all others
    can_add = can_change = False
    team_path = "team"
    add_form: type[ActionForm] | None = None
    add_fields: tuple[str, ...] = ()
    lookups: tuple[str, ...] = ()

    form = ActionForm
    actions = None
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    sortable_by = ()
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        viewer = current().viewer
        rows = super().get_queryset(request)
        if any(field.name == "label" for field in self.model._meta.get_fields()):
            return visible_to(viewer, rows)
        return rows.filter(**{self.team_path: viewer.team})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return InItsOrder

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.in_system if current().viewer.team_slug == SYSTEM_TEAM else self.in_teams

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.can_change and self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        if not change and self.add_form is not None:
            kwargs["form"] = self.add_form
        form = super().get_form(request, obj, change=change, **kwargs)
        # The class was made for this request alone.
        cast(type[ActionForm], form).refusal = getattr(request, REFUSAL, None)
        return form

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.add_fields if obj is None and self.add_fields else super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else super().get_readonly_fields(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """A page with one button."""
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(request, object_id, form_url, {**one_button, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Call the action. `obj` has been filled from the form and is not saved."""
        raise NotImplementedError

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: the action has done it."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Only the filters that are shown: others would scan big tables, or ask about columns that are not shown.
        return lookup in self.lookups

    def get_urls(self) -> list[URLPattern]:
        return [url for url in super().get_urls() if not (url.name or "").endswith(("_delete", "_history"))]

    # The ledger is the audit; Django's own log would be a second one, outside of every lock.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None


class ReadOnlyAdmin(HubAdmin):
    """Rows for looking, never changed here."""

    ordering: ClassVar[tuple[str, ...]] = ("-id",)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.fields

    @display(description="seq")
    def seq(self, row: Any) -> Any:
        """Its place on the team's clock."""
        return row.clock.seq

    @display(description="label")
    def label_text(self, row: Any) -> str:
        """Its label in words."""
        return str(label_by_id(row.label_id))


class LabelledAdmin(ReadOnlyAdmin):
    """Rows of the memory, for looking: lists show no free text; a row's own page opens it, which is recorded."""

    list_select_related: ClassVar[tuple[str, ...]] = ("label", "author", "clock")

    @display(description="text")
    def text(self, row: Labelled) -> str:
        """Its free text. Opening a confidential one is recorded."""
        shown = json.dumps(read_text(row), indent=2, ensure_ascii=False)
        more = len(shown) - MOST_TEXT
        return f"{shown[:MOST_TEXT]}\n… {more} more characters" if more > 0 else shown


def viewer_of_page() -> Viewer:
    """Who looks at the page that is being made."""
    return current().viewer
