"""/api/v1/search: the memory by words."""

from typing import Any, ClassVar

from agents.api.doors import Answer, Reading
from memoryhub.core.errors import Code, Conflict, FieldError, Invalid
from memoryhub.core.models import Membership
from memoryhub.interface.pagination import MAX_LIMIT
from memoryhub.memory import answers
from memoryhub.memory.search import asked
from memoryhub.memory.search.find import MODES, Filters, find
from memoryhub.memory.search.shown import show
from memoryhub.memory.search.sources import TYPES
from memoryhub.memory.selectors import tasks

DEFAULT_LIMIT = 20
MORE = 20  # hits beyond the limit, in place of rows that are gone since they were indexed


class Search(Reading):
    """Find rows by a question, names, identifiers, half words, "phrases" and -words; the best first, at most `limit`.

    There is no further page: narrow the query or the filters. The index follows writes within seconds; rows that were
    changed, hidden or removed meanwhile are shown as they are now, or not at all.
    """

    parameters: ClassVar[frozenset[str]] = frozenset(
        {"q", "types", "task", "agent", "exclude_own", "tags", "tags_mode", "since", "until", "min_importance"}
        | {"mode", "limit"}
    )
    answers: ClassVar = {200: answers.Hits}

    def read(self, **url: Any) -> Answer:
        query = self.params.text("q", longest=1000)
        mode = self.params.choice("mode", (*MODES, "semantic")) or "hybrid"
        limit = self.params.integer("limit", low=1, high=MAX_LIMIT) or DEFAULT_LIMIT
        agent = self.params.text("agent", longest=100)
        filters = self._filters()
        if query is None:
            raise Invalid(errors=(FieldError("?q", Code.MISSING, "Say what to search for."),))
        if mode == "semantic":
            raise Conflict(
                Code.NOT_CONFIGURED, "Searching by meaning needs an embeddings endpoint, and none is configured here."
            )
        if agent is not None:
            filters.author = (
                Membership.objects.filter(team_id=self.viewer.team, name=agent).values_list("id", flat=True).first()
            )
        wanted = asked.read(query)
        if wanted.is_empty or (agent is not None and filters.author is None):
            return Answer({"results": []})
        hits = find(self.viewer, wanted, filters, mode=mode, limit=limit + MORE)
        return Answer({"results": show(self.viewer, hits, wanted, limit)})

    def _filters(self) -> Filters:
        key = self.params.key("task")
        return Filters(
            types=self.params.words("types", TYPES) or (),
            task=tasks.ref(self.viewer, key).id if key else None,
            exclude_own=self.params.boolean("exclude_own") or False,
            tags=self.params.words("tags") or (),
            tags_mode=self.params.choice("tags_mode", ("all", "any")) or "all",
            since=self.params.when("since"),
            until=self.params.when("until"),
            min_importance=self.params.fraction("min_importance"),
        )
