"""Problems: whatever is raised is answered as problem+json with its status, and tells nothing that it should not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django import db
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponseBase, UnreadablePostError
from django.test import RequestFactory
from django.urls import Resolver404
from django.utils.module_loading import import_string
from rest_framework import exceptions as drf
from rest_framework.views import APIView
from structlog.testing import capture_logs

from memoryhub.config import urls
from memoryhub.core import errors
from memoryhub.core.errors import Code, Conflict, FieldError, HubError
from memoryhub.interface.http.problems import exception_handler, problem
from memoryhub.interface.pages import base

SECRET = "the customer's IBAN"


def wrapped(outer: type[Exception], cause: type[Exception]) -> Exception:
    """As Django wraps what psycopg raised."""
    error = outer(SECRET)
    error.__cause__ = cause(SECRET)
    return error


CASES: list[tuple[Exception, int, Code]] = [
    (errors.Invalid("x"), 400, Code.INVALID),
    (errors.NotFound(), 404, Code.NOT_FOUND),
    (errors.Conflict(Code.LEASE_HELD, "x"), 409, Code.LEASE_HELD),
    (errors.Unavailable(), 503, Code.UNAVAILABLE),
    (drf.ParseError(SECRET), 400, Code.INVALID_JSON),
    (drf.ValidationError({"a": {"b": ["bad"]}}), 400, Code.INVALID),
    (drf.NotAuthenticated(), 401, Code.UNAUTHORIZED),
    (drf.AuthenticationFailed(), 401, Code.UNAUTHORIZED),
    (drf.PermissionDenied(), 403, Code.FORBIDDEN),
    (drf.NotFound(SECRET), 404, Code.NOT_FOUND),
    (drf.MethodNotAllowed("TRACE"), 405, Code.METHOD_NOT_ALLOWED),
    (drf.NotAcceptable(), 406, Code.NOT_ACCEPTABLE),
    (drf.UnsupportedMediaType("text/plain"), 415, Code.UNSUPPORTED_MEDIA_TYPE),
    (drf.Throttled(wait=7), 429, Code.TOO_MANY_REQUESTS),
    (drf.APIException(SECRET), 500, Code.INTERNAL),
    (Http404(SECRET), 404, Code.NOT_FOUND),
    (Resolver404({"path": SECRET}), 404, Code.NOT_FOUND),
    (PermissionDenied(SECRET), 403, Code.FORBIDDEN),
    (SuspiciousOperation(SECRET), 400, Code.INVALID),
    (BadRequest(SECRET), 400, Code.INVALID),
    (RequestDataTooBig(SECRET), 413, Code.TOO_LARGE),
    (UnreadablePostError(SECRET), 400, Code.INVALID),
    (psycopg.OperationalError(SECRET), 503, Code.UNAVAILABLE),
    (db.OperationalError(SECRET), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.OperationalError), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.TooManyConnections), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.DiskFull), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.AdminShutdown), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.CannotConnectNow), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.QueryCanceled), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.DeadlockDetected), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.SerializationFailure), 503, Code.UNAVAILABLE),
    (wrapped(db.OperationalError, psycopg.errors.LockNotAvailable), 503, Code.UNAVAILABLE),
    (wrapped(db.InterfaceError, psycopg.InterfaceError), 503, Code.UNAVAILABLE),
    (wrapped(db.DataError, psycopg.errors.NumericValueOutOfRange), 400, Code.INVALID),
    (wrapped(db.DataError, psycopg.errors.StringDataRightTruncation), 400, Code.INVALID),
    (wrapped(db.DataError, psycopg.DataError), 400, Code.INVALID),
    (psycopg.errors.UntranslatableCharacter(SECRET), 400, Code.INVALID),
    (wrapped(db.OperationalError, psycopg.errors.ProgramLimitExceeded), 400, Code.INVALID),
    (wrapped(db.IntegrityError, psycopg.errors.UniqueViolation), 409, Code.CONFLICT),
    (wrapped(db.IntegrityError, psycopg.errors.ForeignKeyViolation), 409, Code.CONFLICT),
    (wrapped(db.IntegrityError, psycopg.errors.CheckViolation), 400, Code.INVALID),
    (wrapped(db.ProgrammingError, psycopg.errors.InsufficientPrivilege), 500, Code.INTERNAL),
    (wrapped(db.ProgrammingError, psycopg.errors.UndefinedTable), 500, Code.INTERNAL),
    (db.DatabaseError(SECRET), 500, Code.INTERNAL),
    (ValueError(SECRET), 500, Code.INTERNAL),
    (RecursionError(SECRET), 500, Code.INTERNAL),
    (MemoryError(SECRET), 500, Code.INTERNAL),
]


def through_a_view(raised: Exception) -> HttpResponseBase:
    """What a client of a REST framework view gets."""

    class View(APIView):
        def get(self, _: object) -> None:
            raise raised

    request = RequestFactory().get("/api/v1/tasks", HUB_REQUEST_ID="request-1")
    return View.as_view()(request)


def body_of(response: Any) -> dict[str, Any]:
    assert response["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(response.content)
    assert found["status"] == response.status_code
    assert {"type", "title", "code", "detail", "errors", "request_id"} <= found.keys()
    return found


@pytest.mark.parametrize(
    ("raised", "status", "code"), CASES, ids=[f"{index}-{type(case[0]).__name__}" for index, case in enumerate(CASES)]
)
def test_every_exception_has_its_problem(raised: Exception, status: int, code: Code) -> None:
    with capture_logs() as logs:
        response: Any = through_a_view(raised)
    body = body_of(response)
    assert (response.status_code, body["code"], body["request_id"]) == (status, code, "request-1")
    assert SECRET not in response.content.decode()
    assert SECRET not in str(logs)
    assert ("Retry-After" in response) == (status in (429, 503))
    assert ("WWW-Authenticate" in response) == (status == 401)
    assert response["Allow"] == "GET, HEAD, OPTIONS"
    if status == 500:
        assert logs[0]["request_id"] == "request-1"
        assert "through_a_view" in str(logs) or "get" in str(logs[0]["at"])


def test_hidden_and_absent_are_the_same_bytes() -> None:
    rows = {base.not_found(_request(), exc).content for exc in (errors.NotFound(), drf.NotFound("b"))}
    addresses = {base.not_found(_request(), exc).content for exc in (Resolver404(), Http404("a"))}
    assert len(rows) == len(addresses) == 1
    assert rows != addresses, "a wrong address is told from a row"


def _request(**headers: str) -> Any:
    return RequestFactory().get("/api/v1/nothing", HUB_REQUEST_ID="request-2", **headers)


OWN = {400: SuspiciousOperation(SECRET), 403: PermissionDenied(SECRET), 404: Http404(SECRET)}


@pytest.mark.parametrize("status", [*OWN, 500])
def test_djangos_own_handlers(status: int) -> None:
    handler = import_string(getattr(urls, f"handler{status}"))
    response = handler(_request(), OWN[status]) if status in OWN else handler(_request())
    assert response.status_code == status
    assert body_of(response)["request_id"] == "request-2"
    assert SECRET not in response.content.decode()


def test_a_conflict_carries_the_current_state() -> None:
    held_until = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    error = Conflict(
        Code.LEASE_HELD,
        "Held by ada.",
        held_by="ada",
        lease_expires_at=held_until,
        id=UUID(int=1),
        status="x",
        odd={1: object},
    )
    status, headers, raw = problem(error, "r")
    body = json.loads(raw)
    assert (status, body["status"], body["code"], body["held_by"]) == (409, 409, "lease_held", "ada")
    assert body["lease_expires_at"] == "2026-01-31T09:30:00Z"
    assert headers["Cache-Control"] == "no-store"


def test_errors_tell_where() -> None:
    error = errors.Invalid(errors=(FieldError("/a~1b", Code.MISSING, "This field is missing."),))
    body = json.loads(problem(error, "r")[2])
    assert body["errors"] == [{"pointer": "/a~1b", "code": "missing", "detail": "This field is missing."}]
    assert body["detail"] == "This field is missing."


def test_no_request_still_gets_an_answer() -> None:
    response = exception_handler(ValueError(), {})
    assert len(body_of(response)["request_id"]) == 32


def test_every_error_has_a_status_and_code_of_its_own() -> None:
    def make(kind: type[HubError]) -> HubError:
        build: Callable[..., HubError] = kind
        return build(Code.CONFLICT, "x") if kind is Conflict else build()

    kinds = HubError.__subclasses__()
    made = [make(kind) for kind in kinds]
    assert len({error.status for error in made}) == len(kinds)
    assert len({error.code for error in made}) == len(kinds)
    assert all(problem(error, "r")[0] == error.status for error in made)
    assert SimpleNamespace(**made[0].as_dict()).code
