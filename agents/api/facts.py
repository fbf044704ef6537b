"""/api/v1/facts: read, put, delete, list, history, many at once."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from msgspec import Meta
from rest_framework.request import Request

from agents.api.doors import Answer, Asking, Outcome, Reading, Writing, fitting, not_found_at, respond, room
from agents.api.tasks import level_value, none_if_unset
from memoryhub.core.errors import Code, FieldError, Invalid, NotFound, PreconditionFailed
from memoryhub.core.ids import mark_of
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.etags import fits_none, if_match, make_tag, must_be_new
from memoryhub.interface.http.shapes import FactKey, JsonValue, NewRow, Shape, TaskKey, When
from memoryhub.memory import rendering
from memoryhub.memory.actions import facts
from memoryhub.memory.actions.facts import NewFact, Seen, Stale
from memoryhub.memory.answers import Fact, FactHistory, FactPage, FactsRead
from memoryhub.memory.selectors import facts as selectors
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.facts import FactRow

MOST_KEYS = 200
TEN_YEARS = 315_360_000  # seconds


def fact_answer(row: FactRow, status: int = 200) -> Answer:
    """A version of a fact with its ETag."""
    return Answer(rendering.fact(row), status, {"ETag": make_tag(row.id, row.version, row.event_id)})


class Facts(Reading):
    """List facts by key, from one snapshot a page. Deleted ones, and those past their time to live, are not there."""

    parameters: ClassVar[frozenset[str]] = frozenset({"prefix", "task", "valid_at", "limit", "cursor"})
    answers: ClassVar[Mapping[int, Any]] = {200: FactPage}

    def read(self, **url: Any) -> Answer:
        task = self.params.task_key("task")
        filters = selectors.Filters(
            prefix=self.params.key("prefix"),
            task=task_selectors.ref_by_key(self.viewer, task).id if task else None,
            valid_at=self.params.when("valid_at"),
        )

        def fetch(position: Any, backwards: bool, limit: int) -> list[FactRow]:
            # A cursor points to a key and an id: keys have no spaces.
            key, _, last = str(position or "").partition(" ")
            return selectors.page(
                self.viewer,
                filters,
                position=(key, UUID(last)) if last else None,
                backwards=backwards,
                limit=limit,
                most_bytes=room(),
            )

        return self.paged(fetch, rendering.fact, lambda row: f"{row.key} {row.id}")


class FactBody(NewRow, kw_only=True):
    value: JsonValue
    task: TaskKey | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=TEN_YEARS)] | None = None
    valid_from: When | None = None
    valid_to: When | None = None


class OneFact(Reading, Writing):
    """Read a fact, also as it was (`as_of_seq` or `as_of_time`); put it; delete it.

    Linearizable per fact: PUT with `If-None-Match: *` makes it (201; 412 where there is one); PUT and DELETE with
    `If-Match` change the version that was read (412 with the `current` and the `expected` one, where it is not the
    newest); and a read sees every write that was answered before it began. PUT replaces the whole fact but its label.
    """

    verb = "fact.put"
    shape = FactBody
    parameters: ClassVar[frozenset[str]] = frozenset({"label", "as_of_time", "as_of_seq"})
    http_method_names = ["get", "head", "put", "delete"]
    shows = Fact
    conditional = True
    answers: ClassVar[Mapping[int, Any]] = {200: Fact, 201: Fact, 204: None}

    def get(self, request: Request, **url: Any) -> HttpResponse:
        """304 for who has this version already (RFC 9110, 13.1.2)."""
        response = super().get(request, **url)
        if not fits_none(request.META.get("HTTP_IF_NONE_MATCH"), response["ETag"]):
            return response
        unchanged = HttpResponse(status=304, headers={"ETag": response["ETag"], "Cache-Control": "no-store"})
        del unchanged["Content-Type"]  # Django's default, of nothing
        return unchanged

    def read(self, **url: Any) -> Answer:
        seq, time = self.params.integer("as_of_seq"), self.params.when("as_of_time")
        if seq is None and time is None:
            return fact_answer(selectors.by_key(self.viewer, url["key"], self.label_param()))
        if seq is not None and time is not None:
            text = "A fact is read as of a time or as of a seq, not both."
            raise Invalid(errors=(FieldError("?as_of_time", Code.INVALID, text),))
        return fact_answer(selectors.as_of(self.viewer, url["key"], seq=seq, time=time, label=self.label_param()))

    def put(self, request: Request, **url: Any) -> HttpResponse:
        try:
            return self.post(request, **url)
        except Stale as stale:
            raise self._failed(stale) from stale

    def delete(self, request: Request, **url: Any) -> HttpResponse:
        try:
            self._run(request, b"", None, url)
        except Stale as stale:
            raise self._failed(stale) from stale
        return respond(Answer(None, 204))

    def _run(self, request: Request, raw: bytes, body: Any, url: dict[str, Any]) -> Outcome:
        # What it rests on is part of what is asked: under one Idempotency-Key another ETag is another request.
        match = request.META.get("HTTP_IF_MATCH", "").encode("latin-1")
        return super()._run(request, match + b"\n" + raw, body, url)

    def write(self, body: FactBody | None, **url: Any) -> Outcome:
        key, label = url["key"], self.label_param()
        if body is None:
            tag = if_match(self.request.META.get("HTTP_IF_MATCH"))
            facts.delete(self.viewer, key=key, seen=Seen(*tag), label=label)
            return Outcome(204, None)
        seen = self._seen()
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task) if body.task else None
        item = NewFact(
            value=body.value,
            task=task,
            ttl_seconds=body.ttl_seconds,
            valid_from=body.valid_from,
            valid_to=body.valid_to,
            client_ref=body.client_ref,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
        )
        made = facts.put(self.viewer, key=key, item=item, seen=seen, label=label)
        ahead = selectors.version_after(self.viewer, made.fact, made.version)
        return Outcome(201 if made.created else 200, [str(made.fact), made.version], ahead)

    def _seen(self) -> Seen | None:
        """What the write rests on; None: on there being no such fact."""
        match = self.request.META.get("HTTP_IF_MATCH")
        if not must_be_new(self.request.META.get("HTTP_IF_NONE_MATCH")):
            return Seen(*if_match(match))
        if match is not None:
            raise Invalid("If-None-Match makes a fact and If-Match changes one: send one of them.")
        return None

    def render(self, outcome: Outcome) -> Answer:
        # The very version that was made, whatever has been put since.
        row = outcome.ahead() if outcome.ahead else selectors.version(self.viewer, *outcome.result)
        return fact_answer(row, outcome.status)

    def _failed(self, stale: Stale) -> PreconditionFailed:
        """The refusal with the newest version, and the one that was expected to be it, for who merges the two."""
        newest, seen = stale.newest, stale.seen
        wanted = [newest.version, *([seen.version] if seen is not None and seen.id == newest.id else [])]
        with viewer_transaction(self.viewer, read_only=True):
            rows = selectors.versions(self.viewer, newest.id, wanted)
            shown = {version: rendering.fact_version(row) for version, row in rows.items()}
        if newest.version not in shown:  # no longer to be seen
            raise NotFound()
        # One of the same number in a history that is lost is not what the writer has seen.
        was = rows.get(seen.version) if seen is not None and seen.id == newest.id else None
        is_seen = seen is not None and was is not None and mark_of(was.event_id) == seen.mark
        return PreconditionFailed(
            stale.detail,
            headers={"ETag": make_tag(newest.id, newest.version, rows[newest.version].event_id)},
            current=self.shown(shown[newest.version]),
            expected=self.shown(shown[was.version]) if was is not None and is_seen else None,
        )


class History(Reading):
    """A fact's versions, newest first, each with its author and `seq`, also of a deleted one. None ever changes."""

    parameters: ClassVar[frozenset[str]] = frozenset({"label", "limit", "cursor"})
    answers: ClassVar[Mapping[int, Any]] = {200: FactHistory}

    def read(self, **url: Any) -> Answer:
        fact = selectors.with_history(self.viewer, url["key"], self.label_param())

        def fetch(position: Any, backwards: bool, limit: int) -> list[FactRow]:
            below = None if position is None else int(position)
            return selectors.history(
                self.viewer, fact.id, position=below, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.paged(fetch, rendering.fact_version, lambda row: row.version)


class Keys(Shape, kw_only=True):
    keys: Annotated[list[FactKey], Meta(min_length=1, max_length=MOST_KEYS)]


class ReadFacts(Asking):
    """Up to 200 facts by their keys, from one snapshot; an ambiguous key is told with its labels and fails no other.

    What finds no room in one answer (8 MiB) is named in `unread`: ask for those keys again.
    """

    shape = Keys
    in_place_of = ("fact", frozenset({"GET", "HEAD", "PUT", "DELETE"}))
    answers: ClassVar[Mapping[int, Any]] = {200: FactsRead}

    def read(self, body: Keys, **url: Any) -> Answer:
        keys = list(dict.fromkeys(body.keys))
        many = selectors.many(self.viewer, keys, most_bytes=room())
        there = [key for key in keys if key in many.found or key in many.ambiguous]

        def tell(key: str) -> Any:
            return rendering.fact(many.found[key]) if key in many.found else many.ambiguous[key]

        told = dict(zip(there, fitting(there, tell), strict=False))
        unread = {*many.unread, *there[len(told) :]}
        data = {
            "facts": {key: shown for key, shown in told.items() if key in many.found},
            "missing": [key for key in keys if key not in there and key not in unread],
            "ambiguous": {key: labels for key, labels in told.items() if key in many.ambiguous},
            "unread": [key for key in keys if key in unread],
        }
        return Answer(data)
