"""The admin pages: for administrators of the session's active team, each inside one transaction of their viewer."""

from collections.abc import Callable
from functools import update_wrapper
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from memoryhub.core import unseen
from memoryhub.core.admin_base import REFUSAL, HubAdmin
from memoryhub.core.errors import Forbidden, HubError
from memoryhub.core.models import Actor, Role
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.problems import answer, error_of
from memoryhub.interface.pages.sessions import TEAM_KEY, memberships_of, session_viewer

View = Callable[..., HttpResponseBase]
# Views that bypass the actions: the change of one's own password, and other conveniences of Django's.
_NOT_OURS = {"logout", "password_change", "password_change_done", "autocomplete", "view_on_site"}
_REFUSALS = (HubError, DatabaseError, Http404, PermissionDenied, SuspiciousOperation)


class HubAdminSite(AdminSite):
    """Django's admin, whose views run and render in viewer_transaction() and whose refusals are pages, never a 500."""

    site_header = site_title = "memoryhub administration"
    index_title = "Administration"
    site_url = "/"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register only pages with our access checks: other packages' (groups, failed sign-ins) know no teams."""
        if admin_class is not None and issubclass(admin_class, HubAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person administers the session's active team."""
        viewer = getattr(request, "hub_viewer", None)
        user = request.user
        return viewer is not None and viewer.role == Role.ADMIN and isinstance(user, Actor) and user.is_staff

    def admin_view(self, view: View, cacheable: bool = False) -> View:  # type: ignore[override]
        """Without a session: to the sign-in page; not an administrator of the team: 403; for the rest, see _act."""

        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if "Authorization" in request.headers:
                return HttpResponse(status=HTTPStatus.FORBIDDEN)  # a key opens only the API
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path() if request.method == "GET" else reverse("admin:index"))
            members = memberships_of(request.user)
            request.hub_members, request.hub_viewer = members, session_viewer(request, members)  # type: ignore[attr-defined]
            if not self.has_permission(request):
                return self._refuse(request, Forbidden("You are not an administrator of this team."))
            return self._act(request, lambda: view(request, *args, **kwargs))

        guarded = csrf_protect(inner)
        return update_wrapper(guarded if cacheable else never_cache(guarded), view)

    def _act(self, request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
        """Run the view and its rendering in one transaction. A refusal rolls it back, and is shown on the form."""
        viewer = request.hub_viewer  # type: ignore[attr-defined]
        writes = request.method == "POST"
        try:
            with viewer_transaction(viewer, read_only=not writes):
                return _rendered(view())
        except _REFUSALS as exc:
            answer(exc, request)  # which logs it where needed
            refusal = error_of(exc)
            has_form = writes and isinstance(exc, HubError | DatabaseError)
        if has_form:
            setattr(request, REFUSAL, refusal)
            try:
                with viewer_transaction(viewer, read_only=True):
                    return _rendered(view())
            except _REFUSALS as exc:
                refusal = error_of(exc)
        return self._refuse(request, refusal)

    def _refuse(self, request: HttpRequest, error: HubError) -> HttpResponse:
        # No context of the site: that reads inside a transaction, and somebody without a team has none.
        context = {"detail": error.detail, "site_header": self.site_header, "hub_members": request.hub_members}  # type: ignore[attr-defined]
        context |= {"title": HTTPStatus(error.status).phrase, "hub_viewer": request.hub_viewer, "site_url": "/"}  # type: ignore[attr-defined]
        return render(request, "admin/refused.html", context, status=error.status)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The context of every page, with the teams to switch between."""
        context = super().each_context(request)
        return {**context, "hub_viewer": request.hub_viewer, "hub_members": request.hub_members}  # type: ignore[attr-defined]

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's, without those that bypass the actions; and the switch of teams."""
        ours = [url for url in super().get_urls() if getattr(url, "name", None) not in _NOT_OURS]
        return [path("team/", csrf_protect(require_POST(self.switch_team)), name="team"), *ours]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Redirect to the one sign-in page, which is for people only and counts failures."""
        return HttpResponseRedirect(settings.LOGIN_URL)

    def switch_team(self, request: HttpRequest) -> HttpResponse:
        """POST `team`: switch the active team, whether the person administers it or not."""
        members = {str(member.team_id): member for member in memberships_of(request.user)}
        chosen = members.get(request.POST.get("team", ""))
        if chosen is not None:
            request.session[TEAM_KEY] = chosen.team_id
        return HttpResponseRedirect(reverse("admin:index"))


def _rendered(response: HttpResponseBase) -> HttpResponseBase:
    """The response, rendered now: Django would render it after the transaction.

    Invisible characters (bidi marks, controls) are shown as marks, in text and in inputs; forms convert them back.
    """
    render_now = getattr(response, "render", None)
    made = render_now() if render_now is not None else response
    if isinstance(made, HttpResponse) and made.get("Content-Type", "").startswith("text/html"):
        made.content = unseen.show(made.content.decode()).encode()
    return made
