"""/api/v1/learnings: log, list, and find those that are relevant in a context."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypedDict
from uuid import UUID

from msgspec import Meta

from agents.api.doors import Answer, Asking, Outcome, Reading, Writing, fitting, not_found_at, room
from agents.api.observations import LIST_PARAMETERS, filters_of
from agents.api.tasks import level_value, none_if_unset
from memoryhub.core.errors import NotFound
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.pagination import MAX_LIMIT, Listed
from memoryhub.interface.http.shapes import Content, JsonObject, NewRow, Shape, TaskKey, Text
from memoryhub.memory import answers, rendering
from memoryhub.memory.actions import learnings
from memoryhub.memory.models import Signal
from memoryhub.memory.selectors import learnings as selectors
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors

SignalType = Literal["success", "failure", "pattern", "recommendation"]


class NewLearning(NewRow, kw_only=True):
    signal_type: SignalType
    details: Content
    context: JsonObject = {}
    task: TaskKey | None = None


class Logged(answers.Learning):
    """`duplicate`: it was there already."""

    duplicate: bool


class Learnings(Reading, Writing):
    """List learnings, newest first; log one: 201, or 200 with `duplicate` for a repeated `client_ref`.

    Of several at once with one `client_ref` one is logged.
    """

    verb = "learning.log"
    shape = NewLearning
    parameters: ClassVar[frozenset[str]] = LIST_PARAMETERS | {"signal_type"}
    shows = Listed[answers.Learning]
    answers: ClassVar[Mapping[int, Any]] = {200: Logged, 201: Logged}

    def read(self, **url: Any) -> Answer:
        filters = filters_of(self.viewer, self.params)
        filters.signal_type = self.params.choice("signal_type", Signal.values)

        def fetch(position: Any, backwards: bool, limit: int) -> list[memories.LearningRow]:
            return memories.learnings(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.paged(fetch, rendering.learning)

    def write(self, body: NewLearning, **url: Any) -> Outcome:
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task) if body.task else None
        row_id, created = learnings.log(
            self.viewer,
            signal_type=body.signal_type,
            details=body.details,
            context=body.context,
            task=task,
            client_ref=body.client_ref,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
        )
        return Outcome(201 if created else 200, str(row_id))

    def render(self, outcome: Outcome) -> Answer:
        found = one(self.viewer, UUID(outcome.result))
        return Answer({**found, "duplicate": outcome.status == 200}, outcome.status)


def one(viewer: Viewer, learning_id: UUID) -> answers.Learning:
    """The visible learning with this id, as it is answered. Raises NotFound."""
    rows = memories.learnings(viewer, memories.Filters(ids=[learning_id]), limit=1)
    if not rows:
        raise NotFound()
    return rendering.learning(rows[0])


class OneLearning(Reading):
    """One learning."""

    shows = answers.Learning

    def read(self, **url: Any) -> Answer:
        """Read a learning, as it is at one moment; a confidential one's reading is recorded."""
        return Answer(one(self.viewer, url["learning_id"]))


class Question(Shape, kw_only=True):
    context: JsonObject
    q: Text | None = None
    exclude_own: bool = False
    signal_types: Annotated[list[SignalType], Meta(min_length=1, max_length=4)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 10


class Relevant(TypedDict):
    results: list[answers.RelevantLearning]


class RelevantLearnings(Asking):
    """The learnings that match a context, the most relevant first, with `relevance` (0 to 1) and what `matched`.

    More equal members of the context come first, then more similar ones, then more of their words (or of `q`) anywhere
    in the learning; then what was tried (success, failure), then what is newer. What matches nothing is left out, and
    so is what has no room in an answer (8 MiB). It reads as of one moment and waits for nobody.
    """

    shape = Question
    answers: ClassVar[Mapping[int, Any]] = {200: Relevant}

    def read(self, body: Question, **url: Any) -> Answer:
        found = selectors.relevant(
            self.viewer,
            body.context,
            text=body.q or "",
            exclude_own=body.exclude_own,
            signals=body.signal_types,
            limit=body.limit,
            most_bytes=room(),
        )
        return Answer({"results": fitting(found, rendering.relevant)})
