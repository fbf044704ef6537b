"""The base classes of the API's endpoints: everything around their one action or selector.

A door declares its input and output by a signature: `read(query, key)`, `write(body, key)`. Path parameters match by
name; a parameter whose type is a Query or a Shape is the query or the body; the function returns the response, or a
WriteResult that names the row to show. The API's description is generated from the same signatures (agents.openapi).
Key, rate limit and scope are checked in Django REST framework's hooks (agents.api.guards).

Read:  key -> viewer -> scope -> query -> one transaction, which also renders the response. A POST that reads: the same.
Write: key -> viewer -> scope -> body -> one transaction with the idempotency record; a second one reads the row that
the write names, through its label.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from operator import methodcaller
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from msgspec import Raw
from rest_framework.request import Request
from rest_framework.views import APIView

from agents.api.guards import HasScope, KeyAuthentication, KeyThrottle, viewer_of
from agents.api.withheld import withhold
from memoryhub.core import idempotency, work
from memoryhub.core.access.permissions import VERBS
from memoryhub.core.db.fitting import BYTES, Fitted
from memoryhub.core.errors import FieldError, Invalid, TooLarge
from memoryhub.core.fields import NOT_A_KEY, Shape
from memoryhub.core.transactions import Question, viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.etags import make_tag
from memoryhub.interface.http.headers import JSON, check_address, check_media_type, idempotency_key
from memoryhub.interface.http.json import MAX_BYTES, dump, parse_object
from memoryhub.interface.http.pagination import Page, page, read_window
from memoryhub.interface.http.params import NamedLabel, Params
from memoryhub.interface.http.queries import NoQuery, Query, params_of, read_query
from memoryhub.interface.http.shapes import convert
from memoryhub.memory.schemas.rows import Row, Stored

SHOW = methodcaller("show")  # of a Stored row
T = TypeVar("T")
R = TypeVar("R", bound=Row)


@dataclass(slots=True)
class WriteResult(Generic[T]):
    """What a write did: the response's status, and the ids that it is rendered from (stored for a replay).

    `written`: the row as the write itself returned it, after its transaction, where it need not be read anew.
    """

    statuses: ClassVar[tuple[int, ...]] = (200,)
    status: int
    result: Any
    written: Callable[[], Any] | None = None


class Made(WriteResult[T]):
    """The row of this id: created now (201), or already there (200)."""

    statuses: ClassVar[tuple[int, ...]] = (200, 201)

    def __init__(self, row: Any, created: bool, written: Callable[[], Any] | None = None) -> None:
        super().__init__(201 if created else 200, str(row) if isinstance(row, UUID) else row, written)


class Changed(WriteResult[T]):
    """The row of this id, shown in its current state (200)."""

    def __init__(self, row: UUID) -> None:
        super().__init__(200, str(row))


class Kept(WriteResult[T]):
    """A result without a row to read again: stored as JSON, without content."""

    def __init__(self, result: Any, status: int = 200) -> None:
        super().__init__(status, result)


class Batch(Kept[T]):
    """One result per item: 207 when any failed."""

    statuses: ClassVar[tuple[int, ...]] = (200, 207)


class Nothing(WriteResult[None]):
    """No content (204)."""

    statuses: ClassVar[tuple[int, ...]] = (204,)

    def __init__(self) -> None:
        super().__init__(204, None)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a door's function takes and returns."""

    function: Callable[..., Any]
    returns: Any
    query: type[Query] = NoQuery
    query_name: str | None = None
    body: Any = None  # a Shape, possibly annotated
    body_name: str | None = None
    is_body_optional: bool = False


@cache
def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a door's `read`, `write`, `remove`."""
    hints = get_type_hints(function, include_extras=True)
    made: dict[str, Any] = {}
    for name, parameter in signature(function).parameters.items():
        kind = hints.get(name)
        bare = getattr(kind, "__origin__", kind)
        if isinstance(bare, type) and issubclass(bare, Query):
            made |= {"query": bare, "query_name": name}
        elif isinstance(bare, type) and issubclass(bare, Shape):
            is_optional = parameter.default is not parameter.empty
            made |= {"body": kind, "body_name": name, "is_body_optional": is_optional}
    return Signature(function, hints.get("return"), **made)


class Endpoint(APIView):
    """Checks key, rate limit, method and scope, in this order, before it parses the query or the body.

    Sets `viewer`, `described` (the method's signature), `params` (the query) and `headers_out` (of the response).
    """

    authentication_classes = (KeyAuthentication,)
    throttle_classes = (KeyThrottle,)
    permission_classes = (HasScope,)

    address: ClassVar[str]  # below /api/v1/, with the parts that vary as Django's converters have them
    # The scope that reading requires; None: any key may read.
    scope: ClassVar[str | None] = "memory:read"
    # Where the address ends in a reserved word: the noun whose key would be there, and that noun's methods.
    in_place_of: ClassVar[tuple[str, frozenset[str]]] = ("", frozenset())
    # The name of the function that handles each method.
    functions: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("GET", "HEAD"), "read"),
        **dict.fromkeys(("POST", "PUT", "PATCH"), "write"),
        "DELETE": "remove",
    }
    http_method_names: Sequence[str] = ("get", "head", "post", "put", "patch", "delete")
    _allowed: ClassVar[list[str]]
    limits: Mapping[str, str] = {}  # the headers RateLimit and RateLimit-Policy
    viewer: Viewer
    described: Signature
    headers_out: dict[str, str]
    params: Params

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            # Break the reference cycles of REST framework's view, request and response, and of Django's view with
            # itself: megabytes would stay until the cyclic garbage collector runs.
            self.request.parser_context.clear()
            self.__dict__.clear()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Found once, not twice for a request. Django makes each view's `head` of its `get`.
        has = (name for name in cls.http_method_names if hasattr(cls, "get" if name == "head" else name))
        cls._allowed = [name.upper() for name in has]

    @property
    def allowed_methods(self) -> list[str]:
        return self._allowed

    @classmethod
    def scope_of(cls, method: str) -> str | None:
        """The scope that a method of this door requires."""
        return cls.scope

    @classmethod
    def function_of(cls, method: str) -> Callable[..., Any]:
        """The function that handles a method (GET, POST ...), whose signature describes it."""
        found: Callable[..., Any] = getattr(cls, cls.functions[method])
        return found

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        http = request._request
        meta = http.META
        check_address(meta.get("HTTP_HOST") or meta["SERVER_NAME"], is_secure=http.is_secure())
        self.perform_authentication(request)
        self.check_throttles(request)
        if http.method not in self.allowed_methods:
            noun, methods = self.in_place_of
            if http.method in methods:
                raise Invalid(errors=(FieldError("{key}", *NOT_A_KEY[noun]),))
            self.http_method_not_allowed(request)  # before any other fault is reported
        self.check_permissions(request)
        self.headers_out = {}
        self.described = signature_of(self.function_of(str(http.method)))
        self.params = params_of(meta.get("QUERY_STRING", ""), self.described.query)

    def perform_authentication(self, request: Request) -> None:
        self.viewer = viewer_of(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.limits.items():
            answer.headers[name] = value
        return answer

    def call(self, url: Mapping[str, Any], body: Shape | None = None) -> Any:
        """Call the method's function with the arguments that its signature names."""
        described = self.described
        named: dict[str, Any] = dict(url)
        if described.query_name is not None:
            named[described.query_name] = read_query(self.params, described.query)
        if described.body_name is not None:
            named[described.body_name] = body
        return described.function(self, **named)

    def show(self, stored: Stored[R]) -> R:
        """A row as it is returned; its version becomes the response's ETag."""
        shown = stored.show()
        if (version := getattr(shown, "version", None)) is not None:
            self.headers_out["ETag"] = make_tag(stored.id, version, stored.change)
        return shown

    def respond(self, data: Any, status: int = 200) -> HttpResponse:
        """An uncached response. `data`: bytes (JSON, unless `headers_out` has a Content-Type), or a value to encode."""
        if status == 204:
            empty = HttpResponse(status=204, headers={"Cache-Control": "no-store", **self.headers_out})
            del empty["Content-Type"]  # Django sets one even without a body
            return empty
        headers = {"Cache-Control": "no-store", "Content-Type": "application/json", **self.headers_out}
        return HttpResponse(data if isinstance(data, bytes) else dump(data), status=status, headers=headers)


class ReadEndpoint(Endpoint):
    """GET: runs a subclass's `read`, and renders its response, in one read-only transaction."""

    # Whether a matching If-None-Match gets a 304.
    conditional: ClassVar[bool] = False

    def get(self, request: Request, **url: Any) -> HttpResponse:
        with viewer_transaction(self.viewer, read_only=True):
            return self.respond(self.call(url))

    def page(
        self,
        fetch: Callable[..., Question[Any] | Sequence[Any]],
        place: Callable[[Any], Any] = lambda row: str(row.id),
        render: Callable[[Any], Any] = SHOW,
    ) -> Page[Any]:
        """A page of rows: up to `limit`, and no more than one response holds.

        `fetch(*, position, backwards, limit)` returns them, newest first or in the list's own order; it may return
        fewer (Fitted). `place`: a row's position in the list, for the cursors; `render`: how a row is shown.
        """
        window = read_window(self.params, address=self.request.path, owner=self.viewer.membership)
        request_of = fetch(position=window.position, backwards=window.backwards, limit=window.limit + 1)
        found = request_of.ask_last() if isinstance(request_of, Question) else request_of
        shown = _shown(found[: getattr(found, "at_most", None)][: window.limit], render)
        raw = msgspec.json.encode(shown[::-1] if window.backwards else shown)
        results: Any = Raw(raw)
        if len(raw) > room():
            shown = _fitted(shown, room())
            results = shown[::-1] if window.backwards else shown
        made = page(window, found, place, at_most=len(shown))
        self.headers_out |= made.headers
        return Page(results, made.next, made.previous)


def room() -> int:
    """The bytes that the rows of one response may have; 256 KiB of ANSWER_BYTES are left for its other members."""
    return int(settings.ANSWER_BYTES) - 256 * 1024


def fitting(rows: Iterable[Any], render: Callable[[Any], Any] = SHOW, most_bytes: int | None = None) -> list[Any]:
    """The rows as they are shown, as many as fit into `most_bytes` (default: room()), but at least one."""
    most = room() if most_bytes is None else most_bytes
    shown = _shown(rows, render)
    return shown if len(msgspec.json.encode(shown)) <= most else _fitted(shown, most)


def _shown(rows: Iterable[Any], render: Callable[[Any], Any]) -> list[Any]:
    shown = []
    for row in rows:
        work.check()
        shown.append(render(row))
    return shown


def _fitted(shown: list[Any], most_bytes: int) -> list[Any]:
    # One by one: ten times the cost of encoding them together, and only needed where they do not fit.
    fitted: list[Any] = []
    for one in shown:
        work.check()
        raw = msgspec.json.encode(one)
        most_bytes -= len(raw) + 1
        if most_bytes < 0 and fitted:
            break
        fitted.append(Raw(raw))
    return fitted


def keyset(rows: QuerySet[Any]) -> Callable[[Any, bool, int], Sequence[Any]]:
    """A `fetch` for page(), of labelled rows from a queryset: it measures first, and reads no more than is shown."""
    size = RawSQL(BYTES.replace("r.", f"{rows.model._meta.db_table}."), ())  # noqa: S611  (a constant)

    def fetch(position: Any, backwards: bool, limit: int) -> Sequence[Any]:
        narrowed = rows
        if position is not None:
            narrowed = rows.filter(id__gt=position) if backwards else rows.filter(id__lt=position)
        order = "id" if backwards else "-id"
        ids, total = [], 0
        for row_id, weight in narrowed.order_by(order).values_list("id", size)[:limit]:
            if total > room():
                break
            ids.append(row_id)
            total += weight
        found: Fitted[Any] = Fitted(rows.filter(id__in=ids).order_by(order))
        found.at_most = None if total <= room() else max(len(ids) - 1, 1)
        return found

    return fetch


class BodyEndpoint(Endpoint):
    """A door that takes a body of one shape."""

    max_bytes: ClassVar[int] = MAX_BYTES
    media_types: ClassVar[Sequence[str]] = (JSON,)
    encodings: ClassVar[Sequence[str]] = ()  # the values of Content-Encoding that its _raw() decodes
    media_type: str  # of the body
    # The shape that a body is parsed as, where the door itself validates the parts of the one in its signature.
    shape: ClassVar[type[Shape] | None] = None

    def _raw(self, request: HttpRequest) -> bytes:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length == "0" and self.described.is_body_optional:
            return b""
        kind, encoding = (request.META.get(name) for name in ("CONTENT_TYPE", "HTTP_CONTENT_ENCODING"))
        self.media_type = check_media_type(kind, encoding, accepted=self.media_types, encodings=self.encodings)
        if length.isdecimal() and int(length) > self.max_bytes:
            raise TooLarge(f"A body may have at most {self.max_bytes} bytes here.")
        return request.body

    def _parse(self, raw: bytes) -> Shape:
        described = self.described
        data = parse_object(raw, max_bytes=self.max_bytes) if raw or not described.is_body_optional else {}
        shape: type[Shape] = self.shape or getattr(described.body, "__origin__", described.body)
        return convert(data, shape)


class QueryByPost(BodyEndpoint):
    """A POST that changes nothing: runs a subclass's `read`, with a body, in one read-only transaction.

    It ignores an Idempotency-Key.
    """

    functions: ClassVar[Mapping[str, str]] = {"POST": "read"}

    def post(self, request: Request, **url: Any) -> HttpResponse:
        body = self._parse(self._raw(request._request))
        with viewer_transaction(self.viewer, read_only=True):
            return self.respond(self.call(url, body))


class WriteEndpoint(BodyEndpoint):
    """POST: runs a subclass's `write` in one transaction, and shows the row that it names in a second.

    A key that may not read the row gets only what withhold() leaves.
    """

    verb: ClassVar[str]  # the action's, whose scope a key needs

    @classmethod
    def scope_of(cls, method: str) -> str | None:
        return cls.scope if method in ("GET", "HEAD") else VERBS[cls.verb].scope

    def post(self, request: Request, **url: Any) -> HttpResponse:
        raw = self._raw(request._request)
        body = self._parse(raw)
        outcome, ahead = self._run(request, raw, body, url)
        shown = None
        if outcome.status != 204:
            with viewer_transaction(self.viewer, read_only=True):
                shown = self.render(outcome, ahead)
        if shown is None:
            return self.respond(None, 204)
        return self.respond(self.withheld(shown, body), outcome.status)

    def withheld(self, data: Any, sent: Shape | None = None) -> Any:
        """The response, reduced to what the key may read (withhold)."""
        return withhold(self.viewer, self.scope_of("POST"), data, sent)

    def _run(
        self, request: Request, raw: bytes, body: Shape | None, url: dict[str, Any]
    ) -> tuple[WriteResult[Any], Callable[[], Any] | None]:
        """The write's result; and, unless it is a replay, what gives the row (written, or read in the same trip)."""
        key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        with viewer_transaction(self.viewer):
            if key is None:
                outcome = self.call(url, body)
            else:
                request_of = self._asked(request._request, key, raw)
                if (known := idempotency.replay(request_of)) is not None:
                    return WriteResult(*known), None
                outcome = self.call(url, body)
                idempotency.remember(request_of, [outcome.status, outcome.result])
            if outcome.written is not None:
                return outcome, outcome.written
            question = self.row(outcome.result) if outcome.status != 204 else None
            return outcome, question.ask_after() if question is not None else None

    def _asked(self, request: HttpRequest, key: str, raw: bytes) -> idempotency.Repeatable:
        assert self.viewer.credential is not None
        return idempotency.Repeatable.of(
            self.viewer.credential, key, request.method or "", request.get_full_path(), raw
        )

    def row(self, result: Any) -> Question[Any] | None:
        """The question that reads the row which a write's result names; None where a subclass overrides render()."""
        return None

    def render(self, outcome: WriteResult[Any], ahead: Callable[[], Any] | None) -> Any:
        """The response, from the write's own trip (`ahead`) or a new read; None: nothing is left to show."""
        if ahead is None:
            question = self.row(outcome.result)
            assert question is not None
            ahead = question.ask_last
        shown = self.show(ahead())
        made = shown_type(self.described.function)
        if "duplicate" in getattr(made, "__struct_fields__", ()):
            return made(duplicate=outcome.status == 200, **msgspec.structs.asdict(shown))
        return shown


@cache
def shown_type(function: Callable[..., Any]) -> Any:
    """The type that the WriteResult of a `write` stands for."""
    returns = signature_of(function).returns
    results = get_args(returns) if get_origin(returns) in (Union, UnionType) else (returns,)
    (result,) = (part for part in results if part is not NoneType)
    return get_args(result)[0]


def label_text(label: NamedLabel | None) -> str | None:
    """`?label=`, which selects one of a key's twins, as text."""
    return "+".join([label.sensitivity, *label.compartments]) if label else None
