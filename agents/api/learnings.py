"""/api/v1/learnings: log, list, and find those that are relevant in a context."""

from typing import Annotated, Any
from uuid import UUID

from agents.api.doors import Made, QueryByPost, ReadEndpoint, WriteEndpoint, fitting, room
from agents.api.memories import MemoryQuery, filters_of
from memoryhub.core.transactions import Question
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.queries import about
from memoryhub.memory import models
from memoryhub.memory.actions import learnings
from memoryhub.memory.schemas.learnings import Learning, MadeLearning, NewLearning, RelevantLearnings, RelevantQuery
from memoryhub.memory.schemas.rows import Stored
from memoryhub.memory.selectors import learnings as selectors
from memoryhub.memory.selectors import memories


class LearningQuery(MemoryQuery, kw_only=True):
    signal_type: Annotated[models.Signal | None, about("Only learnings of this type.")] = None


class Learnings(ReadEndpoint, WriteEndpoint):
    """What the team has learnt."""

    verb = "learning.log"

    def read(self, query: LearningQuery) -> Page[Learning]:
        """List learnings, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        filters = filters_of(self.viewer, query)
        filters.signal_type = query.signal_type
        return self.page(memories.lister(self.viewer, Learning, filters, most_bytes=room()))

    def write(self, body: NewLearning) -> Made[MadeLearning]:
        """Log a learning: 201, or 200 with `duplicate` for a repeated `client_ref`.

        Concurrent duplicates (one `client_ref`) are logged once.
        """
        return Made(*learnings.log(self.viewer, item=body))

    def row(self, result: Any) -> Question[Stored[Learning]]:
        return memories.one(self.viewer, Learning, result)


class OneLearning(ReadEndpoint):
    """One learning."""

    def read(self, learning_id: UUID) -> Learning:
        """Read a learning, as it is at one moment; a confidential one's reading is recorded."""
        return self.show(memories.one(self.viewer, Learning, learning_id).ask())


class FindRelevant(QueryByPost):
    """Find the learnings that match a context, the most relevant first.

    Each has its `relevance` (0 to 1) and what `matched`. More equal members of the context come first, then more
    similar ones, then more of their words (or of `q`) anywhere in the learning; then what was tried (success, failure),
    then what is newer. What matches nothing is left out, and so is what has no room in an answer (8 MiB). It reads one
    snapshot and takes no locks.
    """

    def read(self, body: RelevantQuery) -> RelevantLearnings:
        found = selectors.relevant(
            self.viewer,
            body.context,
            text=body.q or "",
            exclude_own=body.exclude_own,
            signals=body.signal_types,
            limit=body.limit,
            most_bytes=room(),
        )
        return RelevantLearnings(fitting(found))
