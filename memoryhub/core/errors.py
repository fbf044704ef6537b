"""Refusals of actions and doors, as exceptions; every door renders them (RFC 9457 over HTTP)."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Code(StrEnum):
    """Every problem code. A client may branch on these; the texts may change."""

    # Of a whole request.
    INVALID = "invalid"
    INVALID_JSON = "invalid_json"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    ALREADY_EXISTS = "already_exists"
    LEASE_HELD = "lease_held"
    LEASE_LOST = "lease_lost"
    HUMAN_OWNED = "human_owned"
    ACTION_CONFLICT = "action_conflict"
    AMBIGUOUS_KEY = "ambiguous_key"
    ALREADY_CLAIMED = "already_claimed"
    ALREADY_DECIDED = "already_decided"
    WRONG_STATE = "wrong_state"
    NOT_OWNER = "not_owner"
    TOO_MANY_LABELS = "too_many_labels"
    RESYNC = "resync"
    PRECONDITION_FAILED = "precondition_failed"
    PRECONDITION_REQUIRED = "precondition_required"
    TOO_LARGE = "too_large"
    URI_TOO_LONG = "uri_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ALLOWED = "not_allowed"
    NOT_CONFIGURED = "not_configured"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    # Of one field, parameter or header, in `errors`.
    UNKNOWN_FIELD = "unknown_field"
    READ_ONLY_FIELD = "read_only_field"
    UNKNOWN_PARAMETER = "unknown_parameter"
    MISSING = "missing"
    EMPTY = "empty"
    REPEATED = "repeated"
    WRONG_TYPE = "wrong_type"
    BAD_FORMAT = "bad_format"
    BAD_CHOICE = "bad_choice"
    OUT_OF_RANGE = "out_of_range"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_DEEP = "too_deep"
    CIRCULAR = "circular"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault. `pointer`: where in the body (RFC 6901), `?name` for a parameter of the query, `{name}` for a part of
    the address.
    """

    pointer: str
    code: str
    detail: str


class HubError(Exception):
    """A refusal. `extra` is the current state that a 409 or 412 carries, as members of the problem itself."""

    status = 400
    code: Code = Code.INVALID

    def __init__(
        self,
        detail: str = "",
        *,
        code: Code | None = None,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        # Each of several faults is shown with its place: the sentences alone would be ambiguous.
        sentences = [f"{error.pointer}: {error.detail}" if len(errors) > 1 else error.detail for error in errors]
        detail = detail or " ".join(sentences)
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = errors
        self.headers = headers or {}
        self.extra = extra

    def as_dict(self) -> dict[str, Any]:
        """The members that every door shows: code, detail, errors and the current state."""
        # `extra` first: it can add members, never replace these.
        return {
            **self.extra,
            "code": self.code,
            "detail": self.detail,
            "errors": [asdict(error) for error in self.errors],
        }


class Invalid(HubError):
    """400"""


class Unauthorized(HubError):
    """401"""

    status, code = 401, Code.UNAUTHORIZED


class Forbidden(HubError):
    """403: never for a row, since hidden and absent are the same 404."""

    status, code = 403, Code.FORBIDDEN


class NotFound(HubError):
    """404, with one text for hidden and absent. `pointer`: the field of the body that names it."""

    status, code = 404, Code.NOT_FOUND

    text: ClassVar[str] = "There is nothing here that you may see."

    def __init__(self, pointer: str | None = None) -> None:
        faults = (FieldError(pointer, Code.NOT_FOUND, self.text),) if pointer else ()
        super().__init__(self.text, errors=faults)


@contextmanager
def not_found_at(pointer: str) -> Iterator[None]:
    """Report a NotFound of this block at this field of the body."""
    try:
        yield
    except NotFound as error:
        raise type(error)(pointer) from None


class NoSuchTask(NotFound):
    """404 for a task, hidden and absent alike; the text says how to create one."""

    text = "There is no task with this key that you may see. POST /api/v1/tasks with its key and title creates one."


class NoSuchAddress(NotFound):
    """404 for an address that no door serves, whatever rows there are."""

    text = "There is no such address here. /api/v1/docs describes those of the API."


class MethodNotAllowed(HubError):
    """405"""

    status, code = 405, Code.METHOD_NOT_ALLOWED


class NotAcceptable(HubError):
    """406"""

    status, code = 406, Code.NOT_ACCEPTABLE


class TooSlow(HubError):
    """408"""

    status, code = 408, Code.REQUEST_TIMEOUT


class Conflict(HubError):
    """409 with the current state."""

    status, code = 409, Code.CONFLICT

    def __init__(self, code: Code, detail: str, **extra: Any) -> None:
        super().__init__(detail, code=code, **extra)


class Gone(HubError):
    """410: a cursor that no longer holds (`resync`)."""

    status, code = 410, Code.RESYNC


class PreconditionFailed(HubError):
    """412"""

    status, code = 412, Code.PRECONDITION_FAILED


class TooLarge(HubError):
    """413"""

    status, code = 413, Code.TOO_LARGE


class UriTooLong(HubError):
    """414"""

    status, code = 414, Code.URI_TOO_LONG


class UnsupportedMediaType(HubError):
    """415"""

    status, code = 415, Code.UNSUPPORTED_MEDIA_TYPE


class NotAllowed(HubError):
    """422"""

    status, code = 422, Code.NOT_ALLOWED


class PreconditionRequired(HubError):
    """428"""

    status, code = 428, Code.PRECONDITION_REQUIRED


class HeadersTooLarge(HubError):
    """431"""

    status, code = 431, Code.HEADERS_TOO_LARGE


class RateLimited(HubError):
    """429. `retry_after`: seconds to wait before a retry."""

    status, code = 429, Code.TOO_MANY_REQUESTS

    def __init__(self, detail: str = "Too many requests.", *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Internal(HubError):
    """500: an error of the server. The text discloses nothing of it; the log has it, under the request id."""

    status, code = 500, Code.INTERNAL

    def __init__(self) -> None:
        super().__init__("An error occurred in the server. It is logged under this request id.")


class Unavailable(HubError):
    """503. `retry_after`: seconds to wait before a retry."""

    status, code = 503, Code.UNAVAILABLE

    def __init__(self, detail: str = "Temporarily unavailable; try again.", *, retry_after: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unconfirmed(Unavailable):
    """503: a synchronous standby is away. The write was not done, or its durability is not known."""

    def __init__(self) -> None:
        super().__init__(
            "A database standby is not confirming writes. This one was refused, or its outcome is not known:"
            " send it again with the same client_ref or Idempotency-Key.",
            retry_after=1,
        )


def describe(exc: BaseException) -> dict[str, Any]:
    """An exception for the log: its causes' names and its place, not its text, which may quote confidential rows."""
    names: list[str] = []
    cause: BaseException | None = exc
    while cause is not None and len(names) < 5:
        names.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(exc.__traceback__)[-8:]
    return {"error": names, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
