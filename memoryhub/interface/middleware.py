"""The request id; and a first password, which is changed before anything else."""

import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.http import urlencode

from memoryhub.core.errors import Forbidden
from memoryhub.core.models import Actor
from memoryhub.interface.health import observe
from memoryhub.interface.pages import wants_json
from memoryhub.interface.problems import problem_response

log = structlog.get_logger("memoryhub.request")

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id_from(sent: str | None) -> str:
    """The caller's X-Request-Id when it is a plain one, else a new one."""
    return sent if sent and _PLAIN_ID.fullmatch(sent) else uuid4().hex


class RequestIdMiddleware:
    """Gives each request an id, which its log lines, problem answers and background jobs carry."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request_id_from(request.META.get("HTTP_X_REQUEST_ID"))
        request.META["HUB_REQUEST_ID"] = request_id
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            observe(request, response.status_code, seconds)
            # The path only: a query string may hold what somebody searches for.
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round(seconds * 1000, 1),
            )
        response["X-Request-Id"] = request_id
        return response


CHANGE_PAGE = "/account/password/"
_ALWAYS_OPEN = (CHANGE_PAGE, "/login/", "/logout/", "/api/")


class FirstPasswordMiddleware:
    """Whoever has a password that somebody else chose is led to the page that changes it; nothing else is open."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # A request with a key is the view's to refuse, whoever's session comes along.
        if request.path.startswith(_ALWAYS_OPEN) or "Authorization" in request.headers:
            return self.get_response(request)
        person = request.user
        if not isinstance(person, Actor) or not person.must_change_password:
            return self.get_response(request)
        here = f"?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else ""
        if not wants_json(request):
            return redirect(f"{CHANGE_PAGE}{here}")
        words = f"Your password is a first one, which somebody else chose. Choose your own first, at {CHANGE_PAGE}."
        return problem_response(Forbidden(words, headers={"HX-Redirect": CHANGE_PAGE}), request)
