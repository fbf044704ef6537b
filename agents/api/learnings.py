"""/api/v1/learnings: what worked or failed, found again by its context."""

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

    address = "learnings"
    verb = "learning.log"

    def read(self, query: LearningQuery) -> Page[Learning]:
        """List learnings, newest first. Each page is one snapshot; `next` neither skips nor repeats a row."""
        return self.page(memories.lister(self.viewer, Learning, filters_of(self.viewer, query), most_bytes=room()))

    def write(self, body: NewLearning) -> Made[MadeLearning]:
        """Log a learning: 201, or 200 with `duplicate` for a repeated `client_ref`.

        Concurrent duplicates (the same author and `client_ref`) are stored once.
        """
        return Made(*learnings.log(self.viewer, item=body))

    def row(self, result: Any) -> Question[Stored[Learning]]:
        return memories.one(self.viewer, Learning, result)


class OneLearning(ReadEndpoint):
    """One learning."""

    address = "learnings/<uuid:learning_id>"

    def read(self, learning_id: UUID) -> Learning:
        """Read a learning, from one snapshot; a confidential read is recorded."""
        return self.show(memories.one(self.viewer, Learning, learning_id).ask())


class FindRelevant(QueryByPost):
    """Find the learnings that match a context, the most relevant first.

    Each has its `relevance` (0 to 1) and what `matched`. The rank is by the number of equal members of the context,
    then of similar ones, then of their words (or those of `q`) anywhere in the learning; then those that were tried
    (success, failure), then the newest. Learnings that match nothing, or do not fit into 8 MiB, are left out. Reads
    one snapshot; takes no locks.
    """

    address = "learnings/relevant"

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
