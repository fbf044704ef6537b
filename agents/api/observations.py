"""/api/v1/observations: log one, log many, list."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NotRequired, TypedDict
from uuid import UUID

from msgspec import Meta

from agents.api.doors import Answer, Outcome, Reading, Writing, not_found_at, room
from agents.api.tasks import Token, level_value, none_if_unset
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NoSuchTask, NotFound
from memoryhub.interface.http.json import escape_pointer
from memoryhub.interface.http.pagination import Listed
from memoryhub.interface.http.params import Params
from memoryhub.interface.http.shapes import Content, NewRow, Shape, Tags, TaskKey, When, convert
from memoryhub.memory import answers, rendering
from memoryhub.memory.actions import observations, pins
from memoryhub.memory.actions.observations import Logged, NewObservation
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors

MAX_ITEMS = 1000
MAX_BATCH_BYTES = 8 * 1024 * 1024


class Item(NewRow, kw_only=True):
    content: Content
    task: TaskKey | None = None
    tags: Tags = []
    importance: Annotated[float, Meta(ge=0, le=1)] | None = None
    occurred_at: When | None = None
    expires_at: When | None = None
    private: bool = False
    pinned: bool = False
    dedupe: bool = False
    token: Token | None = None


def new_observation(item: Item, task: task_selectors.TaskRef | None) -> NewObservation:
    """A body as the action takes it."""
    return NewObservation(
        content=item.content,
        task=task,
        tags=item.tags,
        importance=item.importance,
        occurred_at=item.occurred_at,
        expires_at=item.expires_at,
        private=item.private,
        pinned=item.pinned,
        dedupe=item.dedupe,
        client_ref=item.client_ref,
        sensitivity=level_value(item.sensitivity),
        compartments=none_if_unset(item.compartments),
        token=item.token,
    )


LIST_PARAMETERS = frozenset(
    {"task", "agent", "exclude_agent", "exclude_own", "since", "until", "after_seq", "limit", "cursor"}
)


# A lease is of a task.
_TOKEN_NEEDS_TASK = {
    "if": {"properties": {"token": {"type": "integer"}}, "required": ["token"]},
    "then": {"properties": {"task": {"type": "string"}}, "required": ["task"]},
}


class Observations(Reading, Writing):
    """What was observed."""

    verb = "observation.log"
    shape = Item
    told = Annotated[Item, Meta(extra_json_schema=_TOKEN_NEEDS_TASK)]
    shows = Listed[answers.Observation]
    answers: ClassVar[Mapping[int, Any]] = {200: answers.MadeObservation, 201: answers.MadeObservation}
    parameters: ClassVar[frozenset[str]] = LIST_PARAMETERS | {"tags", "tags_mode", "min_importance"}

    def read(self, **url: Any) -> Answer:
        """List observations, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        filters = filters_of(self.viewer, self.params)
        filters.tags = self.params.words("tags") or ()
        filters.tags_mode = self.params.choice("tags_mode", ("all", "any")) or "all"
        filters.min_importance = self.params.fraction("min_importance")

        def fetch(position: Any, backwards: bool, limit: int) -> list[memories.ObservationRow]:
            return memories.observations(
                self.viewer,
                filters,
                position=position,
                backwards=backwards,
                limit=limit,
                last=True,
                most_bytes=room(),
            )

        return self.paged(fetch, rendering.observation)

    def write(self, body: Item, **url: Any) -> Outcome:
        """Log an observation: 201, or 200 with `duplicate` when it was there already.

        Of several at once with one `client_ref` of one's own, one is stored. With a `token` it is stored only while
        the lease holds (409 lease_lost).
        """
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task) if body.task else None
        logged = observations.log(self.viewer, item=new_observation(body, task))
        ahead = memories.observation_after(self.viewer, logged.id)
        return Outcome(201 if logged.created else 200, str(logged.id), ahead)

    def render(self, outcome: Outcome) -> Answer:
        wanted = memories.Filters(ids=[outcome.result])
        rows = outcome.ahead() if outcome.ahead else memories.observations(self.viewer, wanted, limit=1, last=True)
        if not rows:  # expired meanwhile, or a replay by somebody who may no longer see it
            raise NotFound()
        return Answer({**rendering.observation(rows[0]), "duplicate": outcome.status == 200}, outcome.status)


class OneObservation(Reading):
    """One observation. 404 for one that has expired, and for another agent's private one."""

    shows = answers.Observation

    def read(self, **url: Any) -> Answer:
        """Read an observation, as it is at one moment; a confidential one's reading is recorded."""
        rows = memories.observations(self.viewer, memories.Filters(ids=[url["observation_id"]]), limit=1)
        if not rows:
            raise NotFound()
        return Answer(rendering.observation(rows[0]))


def filters_of(viewer: Any, params: Params) -> memories.Filters:
    """The filters that observations and decisions share; 404 for a task that is hidden."""
    key = params.task_key("task")
    filters = memories.Filters(
        task=task_selectors.ref_by_key(viewer, key).id if key else None,
        task_key=key,
        agent=params.text("agent", longest=100),
        exclude_agent=params.text("exclude_agent", longest=100),
        exclude_own=params.boolean("exclude_own") or False,
        since=params.when("since"),
        until=params.when("until"),
        after_seq=params.integer("after_seq"),
    )
    memories.narrow_since(viewer, filters)
    return filters


class Batch(Shape, kw_only=True):
    items: Annotated[list[Any], Meta(min_length=1, max_length=MAX_ITEMS)]


class Items(Shape, kw_only=True):
    """As the description tells it; here each item is looked at by itself, so that one fault is one item's."""

    items: Annotated[list[Item], Meta(min_length=1, max_length=MAX_ITEMS)]


class Refusal(TypedDict):
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]]


class Result(TypedDict):
    index: int
    status: Annotated[str, answers.one_of("created", "duplicate", "error")]
    id: NotRequired[UUID]
    error: NotRequired[Refusal]


class Results(TypedDict):
    results: list[Result]


class ObservationBatch(Writing):
    """Log 1..1000 observations: a result for each, in order; 207 when any failed.

    The good ones are stored in one transaction, once: of several at once with one `client_ref`, one is stored.
    """

    verb = "observation.log_batch"
    shape = Batch
    told = Items
    answers: ClassVar[Mapping[int, Any]] = {200: Results, 207: Results}
    max_bytes = MAX_BATCH_BYTES

    def write(self, body: Batch, **url: Any) -> Outcome:
        results: list[dict[str, Any]] = [{"index": index} for index in range(len(body.items))]
        shaped = [(index, self._shaped(index, item, results)) for index, item in enumerate(body.items)]
        tasks = task_selectors.refs_by_key(self.viewer, {item.task for _, item in shaped if item and item.task})
        ready: list[tuple[int, NewObservation]] = []
        for index, item in shaped:
            if item is None:
                continue
            if item.task and item.task not in tasks:
                refuse(results[index], NoSuchTask(f"/items/{index}/task"))
                continue
            ready.append((index, new_observation(item, tasks[item.task] if item.task else None)))
        logged = observations.log_batch(self.viewer, items=[item for _, item in ready])
        for (index, _), result in zip(ready, logged, strict=True):
            if isinstance(result, Logged):
                results[index] |= {"status": "created" if result.created else "duplicate", "id": str(result.id)}
            else:
                result.errors = tuple(
                    replace(fault, pointer=f"/items/{index}{fault.pointer}") for fault in result.errors
                )
                refuse(results[index], result)
        return Outcome(207 if any(result["status"] == "error" for result in results) else 200, results)

    def _shaped(self, index: int, item: Any, results: list[dict[str, Any]]) -> Item | None:
        work.check()
        try:
            if not isinstance(item, dict):
                raise Invalid(errors=(FieldError(f"/items/{index}", Code.WRONG_TYPE, "This must be an object."),))
            return convert(item, Item, at=f"/items/{escape_pointer(str(index))}")
        except HubError as error:
            refuse(results[index], error)
            return None

    def render(self, outcome: Outcome) -> Answer:
        return Answer({"results": outcome.result}, outcome.status)


MOST_TOLD, LONGEST_TOLD = 3, 500  # faults of an item, characters: a thousand items' have to fit into one answer


def refuse(result: dict[str, Any], error: HubError) -> None:
    """An item's result when it failed, with its first faults."""
    told = error.as_dict()
    told |= {"detail": told["detail"][:LONGEST_TOLD], "errors": told["errors"][:MOST_TOLD], "status": error.status}
    result |= {"status": "error", "error": told}


class PinObservation(Writing):
    """Pin an observation, so that it does not expire; a second pin changes nothing. 404 for one that has expired."""

    verb = "observation.pin"
    shape = Shape
    body_optional = True
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Observation}
    act: ClassVar[Callable[..., None]] = staticmethod(pins.pin)

    def write(self, body: Shape, **url: Any) -> Outcome:
        type(self).act(self.viewer, observation_id=url["observation_id"])
        return Outcome(200, str(url["observation_id"]))

    def render(self, outcome: Outcome) -> Answer:
        rows = memories.observations(self.viewer, memories.Filters(ids=[outcome.result]), limit=1)
        return Answer(rendering.observation(rows[0])) if rows else Answer(None, 204)


class UnpinObservation(PinObservation):
    """Take the pin away; a second time changes nothing. 204 when it has expired, and so is gone now."""

    verb = "observation.unpin"
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Observation, 204: None}
    act = staticmethod(pins.unpin)
