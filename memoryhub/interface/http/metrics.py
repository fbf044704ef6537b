"""Metrics of requests: counts and times; and `/metrics` (Prometheus), which needs a token."""

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from memoryhub.core.errors import MethodNotAllowed, Unauthorized
from memoryhub.interface.http.problems import problem_response

REQUESTS = Counter(
    "memoryhub_http_requests_total", "Requests, by door, method and status.", ["door", "method", "status"]
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = Histogram("memoryhub_http_request_seconds", "Time a request took.", ["door"])


def count(door: str, method: str, status: int) -> None:
    """Count a request. `door`: a route's pattern; methods that clients invent count as `other`."""
    REQUESTS.labels(door, method if method in METHODS else "other", str(status)).inc()


def observe(request: HttpRequest, status: int, seconds: float) -> None:
    """Count a request and its time. The door is the route's pattern, so that no key or task becomes a label."""
    match = request.resolver_match
    door = match.route if match is not None else "none"
    count(door, request.method or "", status)
    SECONDS.labels(door).observe(seconds)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for the holder of METRICS_TOKEN; 401 for all while it is not set."""
    if request.method not in ("GET", "HEAD"):
        return problem_response(MethodNotAllowed("This address accepts only GET.", headers={"Allow": "GET"}), request)
    sent = request.headers.get("Authorization", "")
    token = settings.METRICS_TOKEN
    if not token or not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        refusal = Unauthorized("Send METRICS_TOKEN as a bearer token.", headers={"WWW-Authenticate": "Bearer"})
        return problem_response(refusal, request)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
