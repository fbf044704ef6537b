"""What every endpoint of the API does around its one action or selector.

A door says by its signature what it takes and returns: `read(query, key)`, `write(body, key)`. The parts of its address
are parameters by their names; one whose type is a Query or a Shape is the query or the body; what is returned is the
answer, or a WriteResult that names the row to be shown. The API's description reads the same signatures
(agents.openapi). Key, rate and scope are checked by Django REST framework's own hooks (agents.api.guards).

Read:  key -> viewer -> scope -> query -> one transaction that also makes the answer. By POST, with a body: the same.
Write: key -> viewer -> scope -> body -> one transaction with the idempotency record; the row that it names is read
anew, through the label, in a second.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from operator import methodcaller
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

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
from memoryhub.interface.http.headers import check_address, check_media_type, idempotency_key
from memoryhub.interface.http.json import MAX_BYTES, dump, parse_object
from memoryhub.interface.http.pagination import Page, page, read_window
from memoryhub.interface.http.params import Label, Params
from memoryhub.interface.http.queries import NoQuery, Query, params_of, read_query
from memoryhub.interface.http.shapes import convert
from memoryhub.memory.schemas.rows import Row, Stored

SHOW = methodcaller("show")  # of a Stored row
T = TypeVar("T")
R = TypeVar("R", bound=Row)


@dataclass(slots=True)
class WriteResult(Generic[T]):
    """What a write did: the status of its answer, and the ids that the answer is made of (kept for a replay)."""

    statuses: ClassVar[tuple[int, ...]] = (200,)
    status: int
    result: Any


class Made(WriteResult[T]):
    """A row of this id, which was made now (201) or was there already (200)."""

    statuses: ClassVar[tuple[int, ...]] = (200, 201)

    def __init__(self, row: Any, created: bool) -> None:
        super().__init__(201 if created else 200, str(row) if isinstance(row, UUID) else row)


class Changed(WriteResult[T]):
    """The row of this id, which is shown as it is now."""

    def __init__(self, row: UUID) -> None:
        super().__init__(200, str(row))


class Kept(WriteResult[T]):
    """What has no row to be read again: kept as it is, in JSON without content."""

    def __init__(self, result: Any, status: int = 200) -> None:
        super().__init__(status, result)


class Batch(Kept[T]):
    """A result for each item: 207 when any failed."""

    statuses: ClassVar[tuple[int, ...]] = (200, 207)


class Nothing(WriteResult[None]):
    """There is nothing to be shown (204)."""

    statuses: ClassVar[tuple[int, ...]] = (204,)

    def __init__(self) -> None:
        super().__init__(204, None)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a door's function takes and returns."""

    returns: Any
    query: type[Query] = NoQuery
    query_name: str | None = None
    body: Any = None  # a Shape, perhaps annotated
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
    return Signature(returns=hints.get("return"), **made)


class Endpoint(APIView):
    """Key, rate, method and scope are checked in this order, before anything that was sent is looked at.

    Afterwards `viewer` is there, and `headers`, those of the answer.
    """

    authentication_classes = (KeyAuthentication,)
    throttle_classes = (KeyThrottle,)
    permission_classes = (HasScope,)

    # What a key needs for what is read, or asked; None: any key may.
    scope: ClassVar[str | None] = "memory:read"
    # For the API's description: what may be refused besides what it works out for every door of its kind.
    refusals: ClassVar[frozenset[int]] = frozenset()
    # Where the address ends in a reserved word: what a key there would be of, and the methods that it would have.
    in_place_of: ClassVar[tuple[str, frozenset[str]]] = ("", frozenset())
    http_method_names: Sequence[str] = ("get", "head", "post", "put", "patch", "delete")
    limits: Mapping[str, str] = {}  # the headers that tell how many requests the key has left
    viewer: Viewer
    headers_out: dict[str, str]
    params: Params

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            # REST framework's view and request refer to each other and to the answer, Django's view to itself: all of
            # it, megabytes perhaps, would live on until a collection of garbage looks at it.
            self.request.parser_context.clear()
            self.__dict__.clear()

    @classmethod
    def scope_of(cls, method: str) -> str | None:
        """The scope that a key needs for a method of this door."""
        return cls.scope

    @classmethod
    def function_of(cls, method: str) -> Callable[..., Any]:
        """The function whose signature is that of a method (GET, POST ...)."""
        raise NotImplementedError

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        meta = request.META
        check_address(meta.get("HTTP_HOST") or meta["SERVER_NAME"], is_secure=request._request.is_secure())
        self.perform_authentication(request)
        self.viewer = viewer_of(request)
        self.check_throttles(request)
        if request.method not in self.allowed_methods:
            noun, methods = self.in_place_of
            if request.method in methods:
                raise Invalid(errors=(FieldError("{key}", *NOT_A_KEY[noun]),))
            self.http_method_not_allowed(request)  # whatever else is wrong
        self.check_permissions(request)
        self.headers_out = {}
        told = signature_of(self.function_of(str(request.method)))
        self.params = params_of(meta.get("QUERY_STRING", ""), told.query)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.limits.items():
            answer.headers[name] = value
        return answer

    def call(self, method: str, url: Mapping[str, Any], body: Shape | None = None) -> Any:
        """Call the method's function with what its signature names."""
        function = self.function_of(method)
        told = signature_of(function)
        named: dict[str, Any] = dict(url)
        if told.query_name is not None:
            named[told.query_name] = read_query(self.params, told.query)
        if told.body_name is not None:
            named[told.body_name] = body
        return function(self, **named)

    def show(self, stored: Stored[R]) -> R:
        """A row as it is returned; its version is the answer's ETag."""
        shown = stored.show()
        if (version := getattr(shown, "version", None)) is not None:
            self.headers_out["ETag"] = make_tag(stored.id, version, stored.change)
        return shown

    def respond(self, data: Any, status: int = 200) -> HttpResponse:
        """What no cache keeps. `data`: bytes, whose Content-Type is among the headers, or what is made JSON."""
        if status == 204:
            empty = HttpResponse(status=204, headers={"Cache-Control": "no-store", **self.headers_out})
            del empty["Content-Type"]  # Django's default, of nothing
            return empty
        headers = {"Cache-Control": "no-store", "Content-Type": "application/json", **self.headers_out}
        return HttpResponse(data if isinstance(data, bytes) else dump(data), status=status, headers=headers)


class ReadEndpoint(Endpoint):
    """GET: a subclass's `read` runs, and its answer is made, in one read-only transaction."""

    # Whether who has the version already (If-None-Match) is answered with 304.
    conditional: ClassVar[bool] = False

    @classmethod
    def function_of(cls, method: str) -> Callable[..., Any]:
        if method in ("GET", "HEAD"):
            return cls.read
        return super().function_of(method)

    def get(self, request: Request, **url: Any) -> HttpResponse:
        with viewer_transaction(self.viewer, read_only=True):
            return self.respond(self.call("GET", url))

    read: Callable[..., Any]

    def page(
        self,
        fetch: Callable[[Any, bool, int], Question[Any] | Sequence[Any]],
        place: Callable[[Any], Any] = lambda row: str(row.id),
        render: Callable[[Any], Any] = SHOW,
    ) -> Page[Any]:
        """A page of rows: as many of those requested as an answer holds.

        `fetch(position, backwards, limit)` gives them, newest first or in the list's own order; it may end earlier
        (Fitted). `place`: of a row in the list, for the cursors; `render`: what it is shown as.
        """
        window = read_window(self.params, address=self.request.path, owner=self.viewer.membership)
        asked = fetch(window.position, window.backwards, window.limit + 1)
        found = asked.ask_last() if isinstance(asked, Question) else asked
        shown = _shown(found[: getattr(found, "at_most", None)][: window.limit], render)
        raw = dump(shown[::-1] if window.backwards else shown)
        results: Any = Raw(raw)
        if len(raw) > room():
            shown = _fitted(shown, room())
            results = shown[::-1] if window.backwards else shown
        made = page(window, found, place, at_most=len(shown))
        self.headers_out |= made.headers
        return Page(results, made.next, made.previous)


def room() -> int:
    """The bytes that the rows of one answer may have; the rest is for what else stands in it."""
    return int(settings.ANSWER_BYTES) - 256 * 1024


def fitting(rows: Iterable[Any], render: Callable[[Any], Any] = SHOW, most_bytes: int | None = None) -> list[Any]:
    """The rows as they are shown, as many as an answer holds (or `most_bytes`), at least one."""
    most = room() if most_bytes is None else most_bytes
    shown = _shown(rows, render)
    return shown if len(dump(shown)) <= most else _fitted(shown, most)


def _shown(rows: Iterable[Any], render: Callable[[Any], Any]) -> list[Any]:
    shown = []
    for row in rows:
        work.check()
        shown.append(render(row))
    return shown


def _fitted(shown: list[Any], most_bytes: int) -> list[Any]:
    # Each by itself, which costs ten times as much as all of them together, and is needed where they do not fit.
    fitted: list[Any] = []
    for one in shown:
        work.check()
        raw = dump(one)
        most_bytes -= len(raw) + 1
        if most_bytes < 0 and fitted:
            break
        fitted.append(Raw(raw))
    return fitted


def keyset(rows: QuerySet[Any]) -> Callable[[Any, bool, int], Sequence[Any]]:
    """How page() fetches labelled rows from a queryset: measured first, so that no more is read than is shown."""
    size = RawSQL(BYTES.replace("r.", f"{rows.model._meta.db_table}."), ())  # noqa: S611  (a text of ours)

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
    """What takes a body of one shape."""

    max_bytes: ClassVar[int] = MAX_BYTES
    # The shape that a body is read as, where the door takes apart by itself what its signature tells.
    shape: ClassVar[type[Shape] | None] = None

    def _raw(self, request: HttpRequest) -> bytes:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length == "0" and signature_of(self.function_of(str(request.method))).is_body_optional:
            return b""
        check_media_type(request.META.get("CONTENT_TYPE"), request.META.get("HTTP_CONTENT_ENCODING"))
        if length.isdecimal() and int(length) > self.max_bytes:
            raise TooLarge(f"A body may have at most {self.max_bytes} bytes here.")
        return request.body

    def _parse(self, method: str, raw: bytes) -> Shape:
        told = signature_of(self.function_of(method))
        data = parse_object(raw, max_bytes=self.max_bytes) if raw or not told.is_body_optional else {}
        shape: Any = self.shape or getattr(told.body, "__origin__", told.body)
        found: Shape = convert(data, shape)
        return found


class QueryByPost(BodyEndpoint):
    """A POST that changes nothing: a subclass's `read` with a body, in one read-only transaction, is the answer.

    It needs no Idempotency-Key, and pays no heed to one.
    """

    @classmethod
    def function_of(cls, method: str) -> Callable[..., Any]:
        return cls.read

    read: Callable[..., Any]

    def post(self, request: Request, **url: Any) -> HttpResponse:
        body = self._parse("POST", self._raw(request._request))
        with viewer_transaction(self.viewer, read_only=True):
            return self.respond(self.call("POST", url, body))


class WriteEndpoint(BodyEndpoint):
    """POST: a subclass's `write` is one transaction; the row that it names is shown in a second.

    Of a row it shows a key that may not read it no more than withhold() leaves.
    """

    verb: ClassVar[str]  # the action's: a key needs its scope
    write: Callable[..., Any]

    @classmethod
    def function_of(cls, method: str) -> Callable[..., Any]:
        if method in ("POST", "PUT", "PATCH"):
            return cls.write
        return super().function_of(method)

    @classmethod
    def scope_of(cls, method: str) -> str | None:
        return cls.scope if method in ("GET", "HEAD") else VERBS[cls.verb].scope

    def post(self, request: Request, **url: Any) -> HttpResponse:
        raw = self._raw(request._request)
        body = self._parse(str(request.method), raw)
        outcome, ahead = self._run(request, raw, body, url)
        if outcome.status == 204:
            return self.respond(None, 204)
        with viewer_transaction(self.viewer, read_only=True):
            shown = self.render(outcome, ahead)
        if shown is None:
            return self.respond(None, 204)
        return self.respond(self.withheld(shown, body), outcome.status)

    def withheld(self, data: Any, sent: Shape | None = None) -> Any:
        """A row, or another answer, as far as the key may have it (withhold)."""
        return withhold(self.viewer, self.scope_of("POST"), data, sent)

    def _run(
        self, request: Request, raw: bytes, body: Shape | None, url: dict[str, Any]
    ) -> tuple[WriteResult[Any], Callable[[], Any] | None]:
        """What was done, and what its own trip has read of the row, where it was done now."""
        method = str(request.method)
        key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        with viewer_transaction(self.viewer):
            if key is None:
                outcome = self.call(method, url, body)
            else:
                asked = self._asked(request._request, key, raw)
                if (known := idempotency.replay(asked)) is not None:
                    return WriteResult(*known), None
                outcome = self.call(method, url, body)
                idempotency.remember(asked, [outcome.status, outcome.result])
            question = self.row(outcome.result) if outcome.status != 204 else None
            return outcome, question.ask_after() if question is not None else None

    def _asked(self, request: HttpRequest, key: str, raw: bytes) -> idempotency.Request:
        assert self.viewer.credential is not None
        return idempotency.Request.of(self.viewer.credential, key, request.method or "", request.get_full_path(), raw)

    def row(self, result: Any) -> Question[Any] | None:
        """How the row is read that a write's result names; None where render() is a subclass's own."""
        return None

    def render(self, outcome: WriteResult[Any], ahead: Callable[[], Any] | None) -> Any:
        """The answer, read anew, unless the write's own trip has read it; None: there is nothing left to be shown."""
        question = self.row(outcome.result)
        assert question is not None
        shown = self.show(ahead() if ahead is not None else question.ask_last())
        made = shown_type(self.function_of(str(self.request.method)))
        if "duplicate" in getattr(made, "__struct_fields__", ()):
            members = {name: getattr(shown, name) for name in type(shown).__struct_fields__}
            return made(duplicate=outcome.status == 200, **members)
        return shown


@cache
def shown_type(function: Callable[..., Any]) -> Any:
    """The type that the WriteResult of a `write` stands for."""
    returns = signature_of(function).returns
    results = get_args(returns) if get_origin(returns) in (Union, UnionType) else (returns,)
    (result,) = (part for part in results if part is not NoneType)
    return get_args(result)[0]


def label_text(label: Label | None) -> str | None:
    """`?label=`, which chooses among twins of a key, as text."""
    return "+".join([label.sensitivity, *label.compartments]) if label else None
