"""What every endpoint of the API does around its one action or selector.

Read:  key -> viewer -> scope -> parameters -> one transaction that also makes the answer.
Ask:   the same by POST, where what is asked is a document.
Write: key -> viewer -> scope -> body -> one transaction (idempotency record, action, ledger) -> on disk ->
       a second, read-only transaction of the same viewer that makes the answer, through the label.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import orjson
from django.conf import settings
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from agents.api.withheld import withhold
from agents.authentication import authenticate
from agents.limits import spend
from memoryhub.core import idempotency, work
from memoryhub.core.access.permissions import VERBS, require_scope
from memoryhub.core.db.fitting import BYTES, Fitted
from memoryhub.core.errors import FieldError, Invalid, NotFound, TooLarge
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.headers import check_address, check_media_type, idempotency_key
from memoryhub.interface.http.json import MAX_BYTES, dump, parse_object
from memoryhub.interface.http.pagination import Page, page, read_window
from memoryhub.interface.http.params import Params
from memoryhub.interface.http.shapes import NOT_A_KEY, Shape, convert

T = TypeVar("T")


@dataclass(slots=True)
class Answer:
    """What is sent back: a value, as JSON; or bytes, whose Content-Type is among the headers."""

    data: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a write did: the status of its answer, and the ids that the answer is made of (kept for a replay)."""

    status: int
    result: Any
    ahead: Callable[[], Any] | None = None  # gives what the answer is made of, where the write's own trip has read it


class Endpoint(APIView):
    """Key, rate, method and scope are checked in this order, before anything that was sent is looked at.

    Afterwards `viewer` and `params` are there.
    """

    # What a key needs for what is read, or asked; None: any key may.
    scope: ClassVar[str | None] = "memory:read"

    # Of the query, for reads and writes.
    parameters: ClassVar[frozenset[str]] = frozenset()
    # For the API's description (agents.openapi): status -> the type of its answer.
    answers: ClassVar[Mapping[int, Any]] = {}
    # What may be refused besides what the description works out for every door of its kind.
    refusals: ClassVar[frozenset[int]] = frozenset()
    # Where the address ends in a reserved word: what a key there would be of, and the methods that it would have.
    in_place_of: ClassVar[tuple[str, frozenset[str]]] = ("", frozenset())
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    limits: Mapping[str, str] = {}  # the headers that tell how many requests the key has left
    viewer: Viewer
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

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        meta = request.META
        check_address(meta.get("HTTP_HOST") or meta["SERVER_NAME"], is_secure=request._request.is_secure())
        self.viewer = authenticate(request.META.get("HTTP_AUTHORIZATION"), request.META["HUB_REQUEST_ID"])
        self.limits = spend(self.viewer)
        if request.method not in self.allowed_methods:
            noun, methods = self.in_place_of
            if request.method in methods:
                raise Invalid(errors=(FieldError("{key}", *NOT_A_KEY[noun]),))
            self.http_method_not_allowed(request)  # whatever else is wrong
        require_scope(self.viewer, self.scope_of(str(request.method)))
        allowed = self.parameters if request.method in ("GET", "HEAD") else self.parameters & {"label"}
        self.params = Params(request.META.get("QUERY_STRING", ""), allowed)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.limits.items():
            answer.headers[name] = value
        return answer

    def label_param(self) -> str | None:
        """`?label=`, which chooses among twins of a key."""
        label = self.params.label()
        return "+".join([label.sensitivity, *sorted(label.compartments)]) if label else None


class Reading(Endpoint):
    """GET: a subclass's `read(**url)` runs, and its answer is made, in one read-only transaction."""

    # The type of what GET answers, where the door also writes and `answers` are those of its write.
    shows: ClassVar[Any] = None
    # Whether who has the version already (If-None-Match) is answered with 304.
    conditional: ClassVar[bool] = False

    def get(self, request: Request, **url: Any) -> HttpResponse:
        with viewer_transaction(self.viewer, read_only=True):
            return respond(self.read(**url))

    def read(self, **url: Any) -> Answer:
        """The answer."""
        raise NotImplementedError

    def paged(
        self,
        fetch: Callable[[Any, bool, int], Sequence[Any]],
        render: Callable[[Any], Any],
        place: Callable[[Any], Any] = lambda row: str(row.id),
    ) -> Answer:
        """A page of rows, each shown by `render`: as many of those asked for as an answer holds.

        `fetch(position, backwards, limit)` gives them, newest first or in the list's own order; it may end earlier
        (Fitted). `place`: of a row in the list, for the cursors.
        """
        window = read_window(self.params, address=self.request.path, owner=self.viewer.membership)
        found = fetch(window.position, window.backwards, window.limit + 1)
        shown = _shown(found[: getattr(found, "at_most", None)][: window.limit], render)
        raw = dump(shown[::-1] if window.backwards else shown)
        results: Any = orjson.Fragment(raw)
        if len(raw) > room():
            shown = _fitted(shown, room())
            results = shown[::-1] if window.backwards else shown
        made: Page[Any] = page(window, found, place, at_most=len(shown))
        return Answer({"results": results, "next": made.next, "previous": made.previous}, headers=made.headers)


def room() -> int:
    """The bytes that the rows of one answer may have; the rest is for what else stands in it."""
    return int(settings.ANSWER_BYTES) - 256 * 1024


def fitting(rows: Iterable[T], render: Callable[[T], Any], most_bytes: int | None = None) -> list[Any]:
    """The rows as they are shown, as many as an answer holds (or `most_bytes`), at least one."""
    most = room() if most_bytes is None else most_bytes
    shown = _shown(rows, render)
    return shown if len(dump(shown)) <= most else _fitted(shown, most)


def _shown(rows: Iterable[T], render: Callable[[T], Any]) -> list[Any]:
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
        fitted.append(orjson.Fragment(raw))
    return fitted


def keyset(rows: QuerySet[Any]) -> Callable[[Any, bool, int], Sequence[Any]]:
    """How paged() fetches labelled rows from a queryset: measured first, so that no more is read than is shown."""
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


class Taking(Endpoint):
    """What takes a body of one shape."""

    shape: ClassVar[type[Shape]]
    # The shape that the description tells, where the door takes apart by itself what `shape` leaves open.
    told: ClassVar[Any] = None
    max_bytes: ClassVar[int] = MAX_BYTES
    body_optional: ClassVar[bool] = False  # nothing need be said: an absent body is an empty object

    def _raw(self, request: HttpRequest) -> bytes:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length == "0" and self.body_optional:
            return b""
        check_media_type(request.META.get("CONTENT_TYPE"), request.META.get("HTTP_CONTENT_ENCODING"))
        if length.isdecimal() and int(length) > self.max_bytes:
            raise TooLarge(f"A body may have at most {self.max_bytes} bytes here.")
        return request.body

    def _parse(self, raw: bytes) -> Any:
        data = parse_object(raw, max_bytes=self.max_bytes) if raw or not self.body_optional else {}
        return convert(data, self.shape)


class Asking(Taking):
    """A POST that changes nothing: a subclass's `read(body, **url)`, in one read-only transaction, is the answer.

    It needs no Idempotency-Key, and pays no heed to one.
    """

    def post(self, request: Request, **url: Any) -> HttpResponse:
        body = self._parse(self._raw(request._request))
        with viewer_transaction(self.viewer, read_only=True):
            return respond(self.read(body, **url))

    def read(self, body: Any, **url: Any) -> Answer:
        """The answer."""
        raise NotImplementedError


class Writing(Taking):
    """POST: a subclass's `write(body, **url)` is one transaction; `render(outcome)` makes the answer in a second.

    Of a row it tells a key that may not read it no more than shown() leaves.
    """

    verb: ClassVar[str]  # the action's: a key needs its scope

    @classmethod
    def scope_of(cls, method: str) -> str | None:
        return cls.scope if method in ("GET", "HEAD") else VERBS[cls.verb].scope

    def post(self, request: Request, **url: Any) -> HttpResponse:
        raw = self._raw(request._request)
        body = self._parse(raw)
        outcome = self._run(request, raw, body, url)
        with viewer_transaction(self.viewer, read_only=True):
            answer = self.render(outcome)
        answer.data = self.shown(answer.data, body)
        return respond(answer)

    def shown(self, data: Any, sent: Shape | None = None) -> Any:
        """A row, or another answer, as far as the key may have it (withhold)."""
        return withhold(self.viewer, self.scope_of("POST"), data, sent)

    def _run(self, request: Request, raw: bytes, body: Any, url: dict[str, Any]) -> Outcome:
        key = idempotency_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        with viewer_transaction(self.viewer):
            if key is None:
                return self.write(body, **url)
            asked = self._asked(request._request, key, raw)
            if (known := idempotency.replay(asked)) is not None:
                return Outcome(*known)
            outcome = self.write(body, **url)
            idempotency.remember(asked, [outcome.status, outcome.result])
            return outcome

    def _asked(self, request: HttpRequest, key: str, raw: bytes) -> idempotency.Request:
        assert self.viewer.credential is not None
        return idempotency.Request.of(self.viewer.credential, key, request.method or "", request.get_full_path(), raw)

    def write(self, body: Any, **url: Any) -> Outcome:
        """Call the one action."""
        raise NotImplementedError

    def render(self, outcome: Outcome) -> Answer:
        """The answer, read anew."""
        raise NotImplementedError


@contextmanager
def not_found_at(pointer: str) -> Iterator[None]:
    """What is not found in this block is named by this field of the body."""
    try:
        yield
    except NotFound as error:
        raise type(error)(pointer) from None


def respond(answer: Answer) -> HttpResponse:
    """What no cache keeps."""
    if answer.status == 204:
        empty = HttpResponse(status=204, headers={"Cache-Control": "no-store", **answer.headers})
        del empty["Content-Type"]  # Django's default, of nothing
        return empty
    headers = {"Cache-Control": "no-store", "Content-Type": "application/json", **answer.headers}
    body = answer.data if isinstance(answer.data, bytes) else dump(answer.data)
    return HttpResponse(body, status=answer.status, headers=headers)
