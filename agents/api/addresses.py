"""Addresses below /api/v1/ that no door serves: a malformed key (400), or no such address (404)."""

import re
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from agents.authentication import authenticate
from agents.limits import spend
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NoSuchAddress
from memoryhub.interface.http.headers import check_address
from memoryhub.interface.http.problems import problem_response
from memoryhub.interface.http.shapes import parse_fact_key, parse_task_key

_PARSERS = {"tasks": parse_task_key, "facts": parse_fact_key}


@csrf_exempt
def refuse(request: HttpRequest, **_: Any) -> HttpResponse:
    """Refuse an address below `tasks/` or `facts/` that no door matches."""
    try:
        check_address(request.META.get("HTTP_HOST") or request.META["SERVER_NAME"], is_secure=request.is_secure())
        spend(authenticate(request.META.get("HTTP_AUTHORIZATION"), request.META["HUB_REQUEST_ID"]))
        _check_key(request)
        raise NoSuchAddress()
    except HubError as error:
        return problem_response(error, request)


def _check_key(request: HttpRequest) -> None:
    parts = re.fullmatch(r"/api/v1/(tasks|facts)/([^/]+)(?:/.*)?", request.path_info, re.DOTALL)
    if parts is None:
        return
    try:
        _PARSERS[parts[1]](parts[2])
    except ValueError as error:
        raise Invalid(errors=(FieldError("{key}", Code.BAD_FORMAT, str(error)),)) from None
