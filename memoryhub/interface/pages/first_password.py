"""A first password, which somebody else chose, must be changed before anything else."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.http import urlencode

from memoryhub.core.errors import Forbidden
from memoryhub.core.models import Actor
from memoryhub.interface.http.problems import problem_response
from memoryhub.interface.pages.base import wants_json

CHANGE_PAGE = "/account/password/"
_ALWAYS_OPEN = (CHANGE_PAGE, "/login/", "/logout/", "/api/")


class FirstPasswordMiddleware:
    """Redirects those who have a first password to the page that changes it; nothing else is open to them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # A request with a key is left to the view, which refuses it, whatever session comes along.
        if request.path.startswith(_ALWAYS_OPEN) or "Authorization" in request.headers:
            return self.get_response(request)
        person = request.user
        if not isinstance(person, Actor) or not person.must_change_password:
            return self.get_response(request)
        here = f"?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else ""
        if not wants_json(request):
            return redirect(f"{CHANGE_PAGE}{here}")
        words = f"Somebody else chose your password. Choose your own first, at {CHANGE_PAGE}."
        return problem_response(Forbidden(words, headers={"HX-Redirect": CHANGE_PAGE}), request)
