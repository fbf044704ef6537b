"""/api/v1/facts: shared values by key, each with its history."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.doors import Made, Nothing, QueryByPost, ReadEndpoint, WriteEndpoint, fitting, label_text, room
from agents.api.memories import OfTask, filters_from
from memoryhub.core.errors import Code, FieldError, Invalid, NotFound, PreconditionFailed
from memoryhub.core.fields import Key, When
from memoryhub.core.ids import mark_of
from memoryhub.core.transactions import Question, viewer_transaction
from memoryhub.interface.http.etags import fits_none, if_match, make_tag, must_be_new
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.params import NamedLabel
from memoryhub.interface.http.queries import LabelQuery, PageQuery, Seq, about
from memoryhub.memory.actions import facts
from memoryhub.memory.actions.facts import Seen, Stale
from memoryhub.memory.schemas.facts import Fact, FactKeys, FactsRead, FactVersion, NewFact
from memoryhub.memory.selectors import facts as selectors
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.facts import FactFilters, StoredFact


class FactQuery(PageQuery, kw_only=True):
    prefix: Annotated[Key | None, about("Only keys with this prefix.")] = None
    task: OfTask = None
    valid_at: Annotated[When | None, about("Only facts that are valid at this time.")] = None


class Facts(ReadEndpoint):
    """List facts by key; each page is one snapshot. Deleted facts, and those past their time to live, are left out."""

    address = "facts"

    def read(self, query: FactQuery) -> Page[Fact]:
        task = task_selectors.ref_by_key(self.viewer, query.task).id if query.task else None
        filters = filters_from(query, FactFilters, task=task)

        def fetch(position: Any, backwards: bool, limit: int) -> list[StoredFact]:
            # A position is a key and an id, separated by a space, which no key has.
            key, _, last = str(position or "").partition(" ")
            return selectors.page(
                self.viewer,
                filters,
                position=(key, UUID(last)) if last else None,
                backwards=backwards,
                limit=limit,
                most_bytes=room(),
            )

        return self.page(fetch, lambda row: f"{row.answer.key} {row.id}")


class FactAsOfQuery(LabelQuery, kw_only=True):
    as_of_seq: Annotated[Seq | None, about("The version at this `seq`.")] = None
    as_of_time: Annotated[When | None, about("The version at this time. Not with `as_of_seq`.")] = None


class OneFact(ReadEndpoint, WriteEndpoint):
    """One fact: read it, put it, delete it."""

    address = "facts/<fact_key:key>"
    verb = "fact.put"
    http_method_names = ("get", "head", "put", "delete")
    put = WriteEndpoint.post
    conditional = True

    def get(self, request: Request, **url: Any) -> HttpResponse:
        """304 where If-None-Match has this version's ETag (RFC 9110, 13.1.2)."""
        response = super().get(request, **url)
        if not fits_none(request.META.get("HTTP_IF_NONE_MATCH"), response["ETag"]):
            return response
        unchanged = HttpResponse(status=304, headers={"ETag": response["ETag"], "Cache-Control": "no-store"})
        del unchanged["Content-Type"]  # Django sets one even without a body
        return unchanged

    def read(self, key: str, query: FactAsOfQuery) -> Fact:
        """Read a fact, as it is or was (`as_of_seq` or `as_of_time`).

        Linearizable per fact: a read sees every write that was acknowledged before it began.
        """
        seq, time, label = query.as_of_seq, query.as_of_time, label_text(query.label)
        if seq is None and time is None:
            return self.show(selectors.by_key(self.viewer, key, label))
        if seq is not None and time is not None:
            text = "Send as_of_time or as_of_seq, not both."
            raise Invalid(errors=(FieldError("?as_of_time", Code.INVALID, text),))
        return self.show(selectors.as_of(self.viewer, key, seq=seq, time=time, label=label))

    def delete(self, request: Request, **url: Any) -> HttpResponse:
        self._run(request, b"", None, url)
        return self.respond(None, 204)

    def _run(self, request: Request, raw: bytes, body: Any, url: dict[str, Any]) -> Any:
        # The precondition is part of the request: under one Idempotency-Key another ETag is another request.
        match = request.META.get("HTTP_IF_MATCH", "").encode("latin-1")
        try:
            return super()._run(request, match + b"\n" + raw, body, url)
        except Stale as stale:
            raise self._failed(stale) from stale

    def write(self, key: str, query: LabelQuery, body: NewFact) -> Made[Fact]:
        """Create or replace a fact; a replacement keeps the label.

        Linearizable per fact: `If-None-Match: *` creates it (201; 412 where it exists); `If-Match` replaces the
        version that was read (412 with the `current` and the `expected` version, where it is not the newest).
        """
        made = facts.put(self.viewer, key=key, item=body, seen=self._seen(), label=label_text(query.label))
        return Made([str(made.fact), made.version], made.created)

    def remove(self, key: str, query: LabelQuery) -> Nothing:
        """Delete a fact; its history stays.

        Linearizable per fact: `If-Match` names the version that was read (412 with the `current` and the `expected`
        version, where it is not the newest).
        """
        tag = if_match(self.request.META.get("HTTP_IF_MATCH"))
        facts.delete(self.viewer, key=key, seen=Seen(*tag), label=label_text(query.label))
        return Nothing()

    def _seen(self) -> Seen | None:
        """The version that the write requires; None: that there is no such fact."""
        match = self.request.META.get("HTTP_IF_MATCH")
        if not must_be_new(self.request.META.get("HTTP_IF_NONE_MATCH")):
            return Seen(*if_match(match))
        if match is not None:
            raise Invalid("If-None-Match creates a fact and If-Match replaces one: send one of them.")
        return None

    def row(self, result: Any) -> Question[StoredFact]:
        # The version that was written, whatever has been put since.
        return selectors.version(self.viewer, *result)

    def _failed(self, stale: Stale) -> PreconditionFailed:
        """The refusal with the newest version and the expected one, for a merge of the two."""
        newest, seen = stale.newest, stale.seen
        wanted = [newest.version, *([seen.version] if seen is not None and seen.id == newest.id else [])]
        with viewer_transaction(self.viewer, read_only=True):
            rows = selectors.versions(self.viewer, newest.id, wanted)
            shown = {version: row.show_version() for version, row in rows.items()}
        if newest.version not in shown:  # no longer visible
            raise NotFound()
        # The same number in a lost life of the ledger is not the version that the writer has seen.
        was = rows.get(seen.version) if seen is not None and seen.id == newest.id else None
        is_seen = seen is not None and was is not None and mark_of(was.change) == seen.mark
        return PreconditionFailed(
            stale.detail,
            headers={"ETag": make_tag(newest.id, newest.version, rows[newest.version].change)},
            current=self.withheld(shown[newest.version]),
            expected=self.withheld(shown[was.answer.version]) if was is not None and is_seen else None,
        )


class HistoryQuery(PageQuery, kw_only=True):
    label: Annotated[
        NamedLabel | None,
        about("The label, where several facts have this key: `confidential+finance`, the `+` as `%2B`."),
    ] = None


class History(ReadEndpoint):
    """List a fact's versions, newest first.

    Each has its author and `seq`; those of a deleted fact are listed too. None ever changes.
    """

    address = "facts/<fact_key:key>/history"

    def read(self, key: str, query: HistoryQuery) -> Page[FactVersion]:
        fact = selectors.with_history(self.viewer, key, label_text(query.label))
        fetch = partial(selectors.history, self.viewer, fact.id, most_bytes=room())
        return self.page(fetch, lambda row: row.answer.version, StoredFact.show_version)


class ReadFacts(QueryByPost):
    """Read up to 200 facts by their keys, from one snapshot.

    An ambiguous key is returned with its labels and fails no other. Keys whose facts do not fit into one response
    (8 MiB) are in `unread`: request them again.
    """

    address = "facts/read"
    in_place_of = ("fact", frozenset({"GET", "HEAD", "PUT", "DELETE"}))

    def read(self, body: FactKeys) -> FactsRead:
        keys = list(dict.fromkeys(body.keys))
        many = selectors.many(self.viewer, keys, most_bytes=room())
        there = [key for key in keys if key in many.found or key in many.ambiguous]

        def show(key: str) -> Any:
            return many.found[key].show() if key in many.found else many.ambiguous[key]

        shown = dict(zip(there, fitting(there, show), strict=False))
        unread = {*many.unread, *there[len(shown) :]}
        return FactsRead(
            facts={key: row for key, row in shown.items() if key in many.found},
            missing=[key for key in keys if key not in there and key not in unread],
            ambiguous={key: labels for key, labels in shown.items() if key in many.ambiguous},
            unread=[key for key in keys if key in unread],
        )
