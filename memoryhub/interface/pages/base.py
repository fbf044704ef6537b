"""Pages for people: the viewer, one transaction around a page and its rendering, refusals as pages."""

import sys
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib.auth.views import redirect_to_login
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.views.generic import View

from memoryhub.core.db.clock import now_ms
from memoryhub.core.errors import Forbidden, HubError, Internal, MethodNotAllowed, Unauthorized
from memoryhub.core.models import SYSTEM_TEAM, Actor, EventSeq, Membership
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.params import Params
from memoryhub.interface.http.problems import answer, error_of, problem_response, request_id_of
from memoryhub.interface.pages.demo import last_known
from memoryhub.interface.pages.sessions import memberships_of, session_viewer

# The templates of refusals; all other statuses have that of a 400.
_TEMPLATES = {403: "403.html", 404: "404.html", 500: "500.html", 503: "503.html"}


class SessionView(View):
    """A view of a signed-in person: `viewer` and `members` (their teams) are set before its method runs.

    An API key is refused, whatever its scopes: these doors are for people.
    """

    viewer: Viewer
    members: list[Membership]

    def dispatch(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        try:
            refuse_keys(request)
            if not request.user.is_authenticated:
                return sign_in(request)
            self.members = memberships_of(request.user)
            viewer = session_viewer(request, self.members)
            if viewer is None:
                raise Forbidden("You are in no team. Ask an administrator to add you to one.")
            self.viewer = viewer
            refuse_others(request, viewer)
            return super().dispatch(request, *args, **url)
        except (HubError, DatabaseError, InterfaceError) as exc:
            return refuse(request, exc)
        finally:
            self.__dict__.clear()  # breaks the view's reference cycle, which would keep what it has read

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        allowed = ", ".join(name.upper() for name in self.http_method_names if hasattr(self, name))
        raise MethodNotAllowed("This address does not accept this method.", headers={"Allow": allowed})


class PageView(SessionView):
    """GET: a subclass's `show(**url)` reads and renders in one read-only transaction of the viewer."""

    parameters: ClassVar[frozenset[str]] = frozenset()
    params: Params
    seq: int

    def get(self, request: HttpRequest, *args: Any, **url: Any) -> HttpResponseBase:
        if self.viewer.team_slug == SYSTEM_TEAM:
            # The installation's own team has no desk.
            if isinstance(request.user, Actor) and request.user.is_staff:
                return redirect("/admin/")
            raise Forbidden("This team has no desk.")
        self.params = Params(_filled(request.META.get("QUERY_STRING", "")), self.parameters)
        with viewer_transaction(self.viewer, read_only=True):
            self.seq = head(self.viewer)
            return self.show(**url)

    def show(self, **url: Any) -> HttpResponse:
        """The page, rendered."""
        raise NotImplementedError

    def render(self, template: str, context: dict[str, Any]) -> HttpResponse:
        """A template as an uncached response. Rendered now, inside the transaction."""
        common = {"viewer": self.viewer, "members": self.members, "seq": self.seq, "now": now_ms()}
        html = render_to_string(template, common | context, request=self.request)
        return HttpResponse(html, headers={"Cache-Control": "no-store", "Vary": "HX-Request"})


def head(viewer: Viewer) -> int:
    """The team's last `seq`, from which a page continues live. Read it before the rows.

    The labels that this transaction may see were listed when it began. They are listed again, so that no row up to this
    `seq` is missed because its label was created in between.
    """
    last = EventSeq.objects.filter(team_id=viewer.team).order_by("-seq").values_list("seq", flat=True).first()
    current().set_viewer_context()
    return last or 0


def refuse_keys(request: HttpRequest) -> None:
    """Raises Forbidden for a request with an API key."""
    if "Authorization" in request.headers:
        raise Forbidden("This is for signed-in people; a key opens only the API.")


def refuse_others(request: HttpRequest, viewer: Viewer) -> None:
    """Raises Forbidden where the page says (`X-Hub-Member`) that another member opened it.

    When two people use one browser in turn, neither sends what the other has typed.
    """
    sender = request.headers.get("X-Hub-Member")
    if sender is not None and sender != str(viewer.membership):
        raise Forbidden(
            f"You are signed in as {viewer.name} now, and this page is somebody else's or another team's. "
            "Sign in as before to send this, or load the page again."
        )


def wants_json(request: HttpRequest) -> bool:
    """Whether the response must not be a page: for the API, a script, a client that sends JSON or accepts no HTML."""
    accept = request.headers.get("Accept", "")
    is_script = "HX-Request" in request.headers or request.content_type == "application/json"
    if is_script or request.path.startswith("/api/"):
        return True
    if request.method in ("GET", "HEAD"):
        return "json" in accept and "text/html" not in accept
    return "text/html" not in accept


def sign_in(request: HttpRequest) -> HttpResponse:
    """For a request without a session: to the sign-in page, or 401 for a script, which htmx follows to that page."""
    here = request.get_full_path() if request.method == "GET" and "HX-Request" not in request.headers else "/"
    target = redirect_to_login(here)
    if not wants_json(request):
        return target
    refused = Unauthorized("Sign in first.", headers={"HX-Redirect": target.url, "WWW-Authenticate": "Session"})
    return problem_response(refused, request)


def refuse(request: HttpRequest, exception: BaseException) -> HttpResponse:
    """Any exception as a page, or as a problem for clients that want JSON."""
    problem = answer(exception, request)  # which also logs it where needed
    if wants_json(request) or "Authorization" in request.headers:
        return problem
    error = error_of(exception)
    context = {
        "detail": error.detail,
        "status": error.status,
        "title": HTTPStatus(error.status).phrase,
        "request_id": request_id_of(request),
        "has_demo_people": last_known(),
    }
    # Without the request: an error page must not need the session or the database, which may have failed.
    html = render_to_string(_TEMPLATES.get(error.status, "400.html"), context)
    headers = {"Cache-Control": "no-store", **error.headers}
    return HttpResponse(html, status=error.status, headers=headers)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW. A request with a key, or without a session, is refused for that first."""
    try:
        refuse_keys(request)
    except Forbidden as error:
        return refuse(request, error)
    if not request.user.is_authenticated and wants_json(request):
        return sign_in(request)
    return refuse(request, Forbidden("The form is too old, or not from this page. Go back, load it again, and repeat."))


# handler400, handler403 and handler404.
bad_request = permission_denied = not_found = refuse


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: a page or a problem with the request's id; Django has logged the exception.

    What fails before a view has begun comes here too: a database that is away while the person is looked up is a 503.
    """
    return refuse(request, sys.exception() or Internal())


def _filled(query: str) -> str:
    """The query without parameters that a form left empty."""
    return "&".join(pair for pair in query.split("&") if not pair.endswith("="))
