"""/api/v1/search: the memory by words, and by what they mean where an embeddings endpoint is configured."""

from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.doors import Answer, Reading, fitting, room
from memoryhub.core.errors import Code, Conflict, FieldError, Invalid, Unavailable
from memoryhub.core.models import Membership
from memoryhub.interface.http.pagination import MAX_LIMIT
from memoryhub.memory.answers import Hits
from memoryhub.memory.search import embeddings, vector_indexer
from memoryhub.memory.search.query import Asked, meant, read
from memoryhub.memory.search.ranking import MODES, Filters, Hit, find
from memoryhub.memory.search.results import show
from memoryhub.memory.search.sources import TYPES
from memoryhub.memory.search.vectors import fuse, near
from memoryhub.memory.selectors import tasks

DEFAULT_LIMIT = 20
MORE = 20  # hits beyond the limit, in place of rows that are gone since they were indexed


class Search(Reading):
    """Find rows by a question, names, identifiers, half words, "phrases" and -words; the best first, at most `limit`.

    There is no further page: where `more` is true, narrow the query or the filters. The index follows writes within
    seconds; rows that were changed, hidden or removed meanwhile are shown as they are now, or not at all.
    """

    parameters: ClassVar[frozenset[str]] = frozenset(
        {"q", "types", "task", "agent", "exclude_own", "tags", "tags_mode", "since", "until", "min_importance"}
        | {"mode", "limit"}
    )
    answers: ClassVar = {200: Hits}
    meaning: str | None = None  # the query's vector
    is_degraded = False  # words only, since the endpoint is away

    def get(self, request: Request, **url: Any) -> HttpResponse:
        if settings.EMBEDDINGS_URL:
            self._ask_endpoint()  # before the transaction: none is open while somebody else's server thinks
        return super().get(request, **url)

    def _mode(self) -> str:
        return self.params.choice("mode", (*MODES, "semantic")) or "hybrid"

    def _query(self) -> str | None:
        return self.params.text("q", longest=1000)

    def _ask_endpoint(self) -> None:
        query, mode = self._query(), self._mode()
        if mode not in ("hybrid", "semantic") or query is None or read(query).is_empty:
            return
        try:
            if vector_indexer.are_made():
                self.meaning = embeddings.of_query(self.viewer.membership, meant(query))
        except embeddings.Away:
            if mode == "semantic":
                raise Unavailable(
                    "The embeddings endpoint is not to be had just now; other modes are.", retry_after=5
                ) from None
            self.is_degraded = True

    def read(self, **url: Any) -> Answer:
        query, mode = self._query(), self._mode()
        limit = self.params.integer("limit", low=1, high=MAX_LIMIT) or DEFAULT_LIMIT
        agent = self.params.text("agent", longest=100)
        filters = self._filters()
        if query is None:
            raise Invalid(errors=(FieldError("?q", Code.MISSING, "Say what to search for."),))
        if mode == "semantic" and not (settings.EMBEDDINGS_URL and vector_indexer.are_made()):
            raise Conflict(
                Code.NOT_CONFIGURED,
                "Searching by meaning needs an embeddings endpoint and pgvector, and that is not set up here.",
            )
        if agent is not None:
            filters.author = (
                Membership.objects.filter(team_id=self.viewer.team, name=agent).values_list("id", flat=True).first()
            )
        wanted = read(query)
        if wanted.is_empty or (agent is not None and filters.author is None):
            return Answer(self._told([], more=False))
        hits = self._find(wanted, filters, mode, limit + MORE)
        shown, more = show(self.viewer, hits, wanted, limit, most_bytes=room())
        fit = fitting(shown, lambda hit: hit)
        return Answer(self._told(fit, more=more or len(fit) < len(shown)))

    def _find(self, wanted: Asked, filters: Filters, mode: str, limit: int) -> list[Hit]:
        if self.meaning is None:
            return [] if mode == "semantic" else find(self.viewer, wanted, filters, mode=mode, limit=limit)
        if mode == "semantic":
            return near(self.viewer, wanted, filters, self.meaning, limit=limit)
        # As deep for every limit, so that a hit's rank does not depend on it.
        deep = MAX_LIMIT + MORE
        by_words = find(self.viewer, wanted, filters, mode=mode, limit=deep)
        return fuse(by_words, near(self.viewer, wanted, filters, self.meaning, limit=deep))[:limit]

    def _told(self, results: list[Any], *, more: bool) -> Hits:
        told: Hits = {"results": results, "more": more}
        return {**told, "degraded": True} if self.is_degraded else told

    def _filters(self) -> Filters:
        key = self.params.task_key("task")
        return Filters(
            types=self.params.words("types", TYPES) or (),
            task=tasks.ref_by_key(self.viewer, key).id if key else None,
            exclude_own=self.params.boolean("exclude_own") or False,
            tags=self.params.words("tags") or (),
            tags_mode=self.params.choice("tags_mode", ("all", "any")) or "all",
            since=self.params.when("since"),
            until=self.params.when("until"),
            min_importance=self.params.fraction("min_importance"),
        )
