"""/api/v1/openapi.json and /api/v1/docs: the API's description, for programs and for people. No key is needed.

Serves the file that is checked in and tested; nothing is generated here.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.generic import View

from agents.openapi.problems import OF_FIELDS, OF_REQUESTS, STATUSES
from memoryhub.core.errors import HubError, MethodNotAllowed
from memoryhub.interface.http.headers import check_address
from memoryhub.interface.http.problems import problem_response

_KEPT = "public, max-age=300"


@cache
def _file() -> tuple[bytes, str]:
    raw = (settings.ROOT / "docs" / "openapi.json").read_bytes()
    return raw, f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


class _Public(View):
    """GET, without a key."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            host = request.META.get("HTTP_HOST") or request.META["SERVER_NAME"]
            check_address(host, is_secure=request.is_secure())
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed("This address accepts only GET.", headers={"Allow": "GET, HEAD"})
        except HubError as error:
            return problem_response(error, request)
        return super().dispatch(request, *args, **kwargs)


class Document(_Public):
    """The description itself: cacheable for five minutes, 304 while its ETag matches."""

    address = "openapi.json"

    def get(self, request: HttpRequest) -> HttpResponse:
        raw, tag = _file()
        headers = {"ETag": tag, "Cache-Control": _KEPT}
        if tag in request.headers.get("If-None-Match", ""):
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(raw, content_type="application/json", headers=headers)


class Docs(_Public):
    """The description as a page, with the meaning of each status and problem code."""

    address = "docs"

    def get(self, request: HttpRequest) -> HttpResponse:
        tables: dict[str, Mapping[Any, str]] = {
            "By status": STATUSES,
            "By code, of a request": OF_REQUESTS,
            "By code, of a field, parameter or header": OF_FIELDS,
        }
        shown = {title: [(name, marked(text)) for name, text in table.items()] for title, table in tables.items()}
        return render(request, "api/docs.html", {"tables": shown})


def marked(text: str) -> SafeString:
    """A sentence as HTML, with its `code` marked up."""
    return mark_safe(re.sub("`([^`]+)`", r"<code>\1</code>", escape(text)))  # noqa: S308  (escaped first)
