"""Refusals that are made on the event loop, before Django sees the request: a problem, or a page for a person."""

from functools import cache
from http import HTTPStatus
from typing import Any

import structlog
from django.conf import settings
from django.template.loader import render_to_string

from memoryhub.core.errors import HubError
from memoryhub.interface.http.metrics import count
from memoryhub.interface.http.problems import problem
from memoryhub.interface.http.request_ids import request_id_from
from memoryhub.interface.server.heads import Head

log = structlog.get_logger("memoryhub.request")

DOOR = "refused"  # in the metrics: the route is not resolved


async def refuse(head: Head | None, scope: Any, send: Any, error: HubError) -> None:
    """Respond with the refusal, and close when there is an unread body."""
    sent_id = head.headers.get(b"x-request-id") if head else None
    request_id = request_id_from(sent_id.decode("latin-1") if sent_id else None)
    status, extra, body = problem(error, request_id)
    if head is not None and head.wants_page:
        body = _page(error, request_id)
        extra |= {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _policy()}
    headers = {
        **extra,
        "X-Request-Id": request_id,
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
    }
    if head is None or head.has_body:
        headers["Connection"] = "close"
    count(DOOR, scope["method"], status)
    log.info("request", method=scope["method"], path=scope["path"], status=status, request_id=request_id)
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _page(error: HubError, request_id: str) -> bytes:
    template = "503.html" if error.status == HTTPStatus.SERVICE_UNAVAILABLE else "400.html"
    context = {
        "detail": error.detail,
        "status": error.status,
        "title": HTTPStatus(error.status).phrase,
        "request_id": request_id,
    }
    return render_to_string(template, context).encode()


@cache
def _policy() -> str:
    return "; ".join(
        f"{name} {' '.join(values)}" for name, values in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items()
    )
