"""Exceptions as responses: `application/problem+json` (RFC 9457), whatever was raised and wherever."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec
import orjson
import psycopg
import structlog
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFilesSent,
)
from django.db import DatabaseError, DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from memoryhub.core import metrics
from memoryhub.core.errors import (
    Code,
    Conflict,
    FieldError,
    Forbidden,
    HubError,
    Internal,
    Invalid,
    MethodNotAllowed,
    NoSuchAddress,
    NotAcceptable,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    describe,
)

CONTENT_TYPE = "application/problem+json"
MEANINGS = "/api/v1/docs"  # the page that explains each code

log = structlog.get_logger("memoryhub.problems")


def problem(error: HubError, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an error, for doors that write their responses themselves."""
    metrics.REFUSALS.labels(error.code).inc()
    members = {
        **error.as_dict(),
        "type": f"{MEANINGS}#{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "request_id": request_id,
    }
    # The response to an error must not fail in turn: a value without a JSON form is shown as its text.
    body = orjson.dumps(members, default=_default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return error.status, headers, body


def _default(value: object) -> object:
    return orjson.Fragment(msgspec.json.encode(value)) if isinstance(value, msgspec.Struct) else str(value)


def problem_response(error: HubError, request: HttpRequest | None) -> HttpResponse:
    """A refusal as a Django response, with the request's id."""
    status, headers, body = problem(error, request_id_of(request))
    return HttpResponse(body, status=status, headers=headers)


def request_id_of(request: HttpRequest | None) -> str:
    """The id that the middleware assigned; a new one where the request failed before it."""
    if request is None:
        return uuid4().hex
    found: str = request.META.setdefault("HUB_REQUEST_ID", uuid4().hex)
    return found


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """REST framework's EXCEPTION_HANDLER: never returns None, so that no exception becomes an HTML page."""
    set_rollback()
    return answer(exc, context.get("request"))


def answer(exc: BaseException, request: HttpRequest | None) -> HttpResponse:
    """The response to any exception. All but refusals are logged, under the response's request id."""
    error = error_of(exc)
    response = problem_response(error, request)
    state = _sqlstate(exc)
    # A refusal by the database gets a good response, but an action should have refused before: log it.
    if not isinstance(exc, HubError) and (error.status >= 500 or state):
        write = log.error if error.status == HTTPStatus.INTERNAL_SERVER_ERROR else log.warning
        write("failed", status=error.status, request_id=request_id_of(request), sqlstate=state, **describe(exc))
    return response


def error_of(exc: BaseException) -> HubError:
    """The refusal for any exception; Internal for what should not have happened."""
    match exc:
        case HubError():
            return exc
        case drf.APIException():
            return _of_rest_framework(exc)
        case Http404():  # of Django's resolver; what a door does not find is NotFound itself
            return NoSuchAddress()
        case PermissionDenied():
            return Forbidden("You may not do this.")
        case RequestDataTooBig() | TooManyFilesSent():
            return TooLarge("The body is too large.")
        case UnreadablePostError():
            return Invalid("The body could not be read to its end.")
        case SuspiciousOperation() | BadRequest():
            return Invalid("This request is not valid.")
        case DatabaseError() | InterfaceError() | psycopg.Error():
            return _of_database(exc)
    return Internal()


def _of_rest_framework(exc: drf.APIException) -> HubError:
    match exc:
        case drf.ValidationError():
            return Invalid(errors=tuple(_field_errors(exc.detail, "")))
        case drf.ParseError():
            return Invalid("The body could not be read.", code=Code.INVALID_JSON)
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return Unauthorized("A valid API key is needed.")
        case drf.PermissionDenied():
            return Forbidden("You may not do this.")
        case drf.NotFound():
            return NotFound()
        case drf.MethodNotAllowed():
            return MethodNotAllowed("This address does not accept this method.")
        case drf.NotAcceptable():
            return NotAcceptable("Responses are application/json.")
        case drf.UnsupportedMediaType():
            return UnsupportedMediaType("The body must be application/json.")
        case drf.Throttled():
            return RateLimited(retry_after=max(1, round(getattr(exc, "wait", None) or 1)))
    return Internal()


def _field_errors(detail: Any, pointer: str) -> list[FieldError]:
    """REST framework's nested lists and dicts of messages, flat."""
    if isinstance(detail, dict):
        return [error for key, value in detail.items() for error in _field_errors(value, f"{pointer}/{key}")]
    if isinstance(detail, list):
        nested = any(isinstance(item, dict | list) for item in detail)
        return [
            error
            for index, value in enumerate(detail)
            for error in _field_errors(value, f"{pointer}/{index}" if nested else pointer)
        ]
    return [FieldError(pointer, Code.INVALID, str(detail))]


def _sqlstate(exc: BaseException) -> str | None:
    """PostgreSQL's SQLSTATE; Django wraps psycopg's exception in its own."""
    for found in (exc, exc.__cause__):
        if isinstance(found, psycopg.Error):
            return found.sqlstate
    return None


def _of_database(exc: BaseException) -> HubError:
    """By SQLSTATE (PostgreSQL's manual, appendix A); without one the server was unreachable or the connection lost."""
    state = _sqlstate(exc)
    if state is None:
        # psycopg itself refuses a NUL, before the server sees it.
        if isinstance(exc, DataError | psycopg.DataError):
            return Invalid("A value in this request cannot be stored.")
        is_lost = isinstance(exc, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)
        return Unavailable() if is_lost else Internal()
    if state in ("40001", "40P01"):  # serialization failure, deadlock: a retry will do
        return Unavailable(retry_after=1)
    # Connection, resources (disk, memory, connections), shutdown, cancelled, I/O, lock timeout, read-only standby.
    # 25P03: this transaction was idle for too long.
    if state[:2] in ("08", "53", "57", "58") or state in ("55P03", "25006", "25P03"):
        return Unavailable(retry_after=5)
    # A value that the database cannot hold (22), or too large a one (54): the request's fault.
    if state[:2] in ("22", "54"):
        return Invalid("A value in this request cannot be stored.")
    if state in ("23505", "23P01", "23503"):
        return Conflict(Code.CONFLICT, "A concurrent request changed the same row; read it again.")
    if state[:2] == "23":
        return Invalid("A value in this request is out of bounds.")
    return Internal()
