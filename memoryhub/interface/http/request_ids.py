"""The request id, the client's or a new one, in every log line, problem and background job of a request."""

import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponseBase

from memoryhub.interface.http.metrics import observe

log = structlog.get_logger("memoryhub.request")

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id_from(sent: str | None) -> str:
    """The client's X-Request-Id when it has 8 to 64 of A-Z a-z 0-9 . _ - only, else a new one."""
    return sent if sent and _PLAIN_ID.fullmatch(sent) else uuid4().hex


class RequestIdMiddleware:
    """Gives each request an id, which its log lines, problems and background jobs carry."""

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
            # The path only: a query string may hold search terms.
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round(seconds * 1000, 1),
            )
        response["X-Request-Id"] = request_id
        return response
