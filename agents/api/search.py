"""/api/v1/search: the memory by words, and by meaning where an embeddings endpoint is configured."""

from typing import Annotated, Any

from django.conf import settings
from django.http import HttpResponse
from msgspec import UNSET, Meta
from rest_framework.request import Request

from agents.api.doors import ReadEndpoint, fitting, room
from agents.api.memories import Agent, ExcludeOwn, MinImportance, OfTask, Since, Tags, TagsMode, Until, filters_from
from memoryhub.core.errors import Code, Conflict, FieldError, Invalid, Unavailable
from memoryhub.core.fields import Derived
from memoryhub.core.models import Membership
from memoryhub.interface.http.pagination import MAX_LIMIT
from memoryhub.interface.http.queries import Choices, Query, Words, about, read_query
from memoryhub.memory.schemas.search import Hit, Hits, hits_schema
from memoryhub.memory.search import embeddings, vector_indexer
from memoryhub.memory.search.lookup import SearchFilters
from memoryhub.memory.search.query import ParsedQuery, meant, read
from memoryhub.memory.search.ranking import MODES, find
from memoryhub.memory.search.results import FIELDS, show
from memoryhub.memory.search.scoring import RankedHit
from memoryhub.memory.search.sources import searched_types
from memoryhub.memory.search.vectors import fuse, near
from memoryhub.memory.selectors import context, tasks

DEFAULT_LIMIT = 20
MORE = 20  # hits beyond the limit, to replace rows that are gone since they were indexed
DEEPER = 5  # times as many, where those do not suffice


class SearchQuery(Query, kw_only=True):
    q: Annotated[
        str | None, Meta(max_length=1000), about('What to look for: a question, words, a "phrase", `-word`.')
    ] = None
    types: Annotated[
        Words | None, Choices(searched_types), about("Only rows of these types, repeated or comma-separated.")
    ] = None
    task: OfTask = None
    agent: Agent = None
    exclude_own: ExcludeOwn = False
    tags: Tags = None
    tags_mode: TagsMode = "all"
    since: Since = None
    until: Until = None
    min_importance: MinImportance = None
    mode: Annotated[
        str,
        Choices(lambda: (*MODES, "semantic")),
        about("How words are matched; `semantic` needs an embeddings endpoint, which `hybrid` uses if present."),
    ] = "hybrid"
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), about("The maximum number of hits.")] = DEFAULT_LIMIT
    fields: Annotated[
        Words | None,
        Choices(lambda: tuple(sorted(FIELDS))),
        about("Only these members of each hit, besides `type`, `id` and `score`; all without it."),
    ] = None
    budget: Annotated[
        int | None,
        Meta(ge=context.MIN_BUDGET, le=context.MAX_BUDGET),
        about("The maximum number of tokens in the hits, as estimated by the server; one hit is returned in any case."),
    ] = None


class Search(ReadEndpoint):
    """Find rows by a question, names, identifiers, parts of words, "phrases" and -words; best first, at most `limit`.

    There are no further pages: where `more` is true, narrow the query or the filters. The index follows writes within
    seconds; rows that were changed, hidden or removed meanwhile are returned as they are now, or not at all.
    """

    address = "search"
    meaning: str | None = None  # the query's vector
    is_degraded = False  # words only: the endpoint is unavailable

    def get(self, request: Request, **url: Any) -> HttpResponse:
        if settings.EMBEDDINGS_URL:
            # Before the transaction: none stays open during a request to a remote server.
            self._ask_endpoint(read_query(self.params, SearchQuery))
        return super().get(request, **url)

    def _ask_endpoint(self, query: SearchQuery) -> None:
        if query.mode not in ("hybrid", "semantic") or query.q is None or read(query.q).is_empty:
            return
        try:
            if vector_indexer.are_made():
                self.meaning = embeddings.of_query(self.viewer.membership, meant(query.q))
        except embeddings.Away:
            if query.mode == "semantic":
                raise Unavailable(
                    "The embeddings endpoint is unavailable; try again, or use another mode.", retry_after=5
                ) from None
            self.is_degraded = True

    def read(self, query: SearchQuery) -> Annotated[Hits, Derived(hits_schema)]:
        task = tasks.ref_by_key(self.viewer, query.task).id if query.task else None
        filters = filters_from(query, SearchFilters, task=task)
        if query.q is None:
            raise Invalid(errors=(FieldError("?q", Code.MISSING, "Say what to search for."),))
        if query.mode == "semantic" and not (settings.EMBEDDINGS_URL and vector_indexer.are_made()):
            raise Conflict(
                Code.NOT_CONFIGURED,
                "Search by meaning needs an embeddings endpoint and pgvector, which are not set up here.",
            )
        if query.agent is not None:
            named = Membership.objects.filter(team_id=self.viewer.team, name=query.agent)
            filters.author = named.values_list("id", flat=True).first()
        wanted = read(query.q)
        if wanted.is_empty or (query.agent is not None and filters.author is None):
            return self._hits([], more=False)
        shown, more = self._shown(wanted, filters, query)
        most = None if query.budget is None else min(query.budget * context.BYTES_PER_TOKEN, room())
        fit = fitting(shown, lambda hit: hit, most)
        return self._hits(fit, more=more or len(fit) < len(shown))

    def _shown(self, wanted: ParsedQuery, filters: SearchFilters, query: SearchQuery) -> tuple[list[Hit], bool]:
        """The hits, and whether there are more. Where too many are gone since they were indexed, more are ranked."""
        fields = FIELDS if query.fields is None else frozenset(query.fields)
        shown: list[Hit] = []
        more = True
        for depth in (query.limit + MORE, DEEPER * (query.limit + MORE)):
            hits = self._find(wanted, filters, query.mode, depth)
            shown, more = show(self.viewer, hits, wanted, query.limit, most_bytes=room(), fields=fields)
            if more or len(hits) < depth:
                return shown, more
        return shown, True

    def _find(self, wanted: ParsedQuery, filters: SearchFilters, mode: str, limit: int) -> list[RankedHit]:
        if self.meaning is None:
            return [] if mode == "semantic" else find(self.viewer, wanted, filters, mode=mode, limit=limit)
        if mode == "semantic":
            return near(self.viewer, wanted, filters, self.meaning, limit=limit)
        # The same depth for every limit, so that a hit's rank does not depend on it.
        deep = max(MAX_LIMIT + MORE, limit)
        by_words = find(self.viewer, wanted, filters, mode=mode, limit=deep)
        return fuse(by_words, near(self.viewer, wanted, filters, self.meaning, limit=deep))[:limit]

    def _hits(self, results: list[Any], *, more: bool) -> Hits:
        return Hits(results, more, True if self.is_degraded else UNSET)
