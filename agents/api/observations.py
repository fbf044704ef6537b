"""/api/v1/observations: what agents saw and did."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from agents.api.doors import Batch, Changed, Made, ReadEndpoint, WriteEndpoint, room
from agents.api.memories import MemoryQuery, MinImportance, Tags, TagsMode, filters_of
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NotFound
from memoryhub.core.fields import EmptyBody, Schema, Shape
from memoryhub.core.transactions import Question
from memoryhub.interface.http.json import MAX_BATCH_BYTES
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.shapes import convert
from memoryhub.memory.actions import observations, pins
from memoryhub.memory.actions.observations import Logged
from memoryhub.memory.schemas.observations import MadeObservation, NewObservation, Observation
from memoryhub.memory.schemas.rows import Stored, one_of
from memoryhub.memory.selectors import memories

MAX_ITEMS = 1000


class ObservationQuery(MemoryQuery, kw_only=True):
    tags: Tags = None
    tags_mode: TagsMode = "all"
    min_importance: MinImportance = None


# A token belongs to a task's lease.
_TOKEN_NEEDS_TASK = {
    "if": {"properties": {"token": {"type": "integer"}}, "required": ["token"]},
    "then": {"properties": {"task": {"type": "string"}}, "required": ["task"]},
}
Item = Annotated[NewObservation, Meta(extra_json_schema=_TOKEN_NEEDS_TASK)]


class ObservationEndpoint(WriteEndpoint):
    """A verb on an observation; it returns the observation."""

    def row(self, result: Any) -> Question[Stored[Observation]]:
        return memories.one(self.viewer, Observation, result)


class Observations(ReadEndpoint, ObservationEndpoint):
    """The team's observations."""

    address = "observations"
    verb = "observation.log"

    def read(self, query: ObservationQuery) -> Page[Observation]:
        """List observations, newest first. Each page is one snapshot; `next` neither skips nor repeats a row."""
        return self.page(memories.lister(self.viewer, Observation, filters_of(self.viewer, query), most_bytes=room()))

    def write(self, body: Item) -> Made[MadeObservation]:
        """Log an observation: 201, or 200 with `duplicate` for a repeated `client_ref`.

        Concurrent duplicates (the same author and `client_ref`) are stored once. With a `token` it is stored only
        while the lease holds (409 lease_lost).
        """
        logged = observations.log(self.viewer, item=body)
        return Made(logged.id, logged.created, logged.written)


class OneObservation(ReadEndpoint):
    """One observation."""

    address = "observations/<uuid:observation_id>"

    def read(self, observation_id: UUID) -> Observation:
        """Read an observation, from one snapshot. 404 once it has expired; a confidential read is recorded."""
        return self.show(memories.one(self.viewer, Observation, observation_id).ask())


class NewObservations(Shape, kw_only=True):
    items: Annotated[list[Item], Meta(min_length=1, max_length=MAX_ITEMS)]


class _Unread(Shape, kw_only=True):
    """A batch whose items are validated one by one, so that a fault fails only its own item."""

    items: Annotated[list[Any], Meta(min_length=1, max_length=MAX_ITEMS)]


class ItemRefusal(Schema):
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]]


class BatchResult(Schema):
    index: int
    status: Annotated[str, one_of("created", "duplicate", "error")]
    id: UUID | UnsetType = UNSET
    error: ItemRefusal | UnsetType = UNSET


class BatchResults(Schema):
    results: list[BatchResult]


class ObservationBatch(WriteEndpoint):
    """Log 1 to 1000 observations: one result each, in order; 207 when any failed.

    The others are stored in one transaction; concurrent duplicates (the same `client_ref`) are stored once.
    """

    address = "observations/batch"
    verb = "observation.log_batch"
    max_bytes = MAX_BATCH_BYTES
    shape = _Unread

    def write(self, body: NewObservations) -> Batch[BatchResults]:
        results: list[dict[str, Any]] = [{"index": index} for index in range(len(body.items))]
        shaped = [(index, self._shaped(index, item, results)) for index, item in enumerate(body.items)]
        ready = [(index, item) for index, item in shaped if item is not None]
        logged = observations.log_batch(self.viewer, items=[item for _, item in ready])
        for (index, _), result in zip(ready, logged, strict=True):
            if isinstance(result, Logged):
                results[index] |= {"status": "created" if result.created else "duplicate", "id": str(result.id)}
            else:
                result.errors = tuple(
                    replace(fault, pointer=f"/items/{index}{fault.pointer}") for fault in result.errors
                )
                refuse(results[index], result)
        return Batch(results, 207 if any(result["status"] == "error" for result in results) else 200)

    def _shaped(self, index: int, item: Any, results: list[dict[str, Any]]) -> NewObservation | None:
        work.check()
        try:
            if not isinstance(item, dict):
                raise Invalid(errors=(FieldError(f"/items/{index}", Code.WRONG_TYPE, "This must be an object."),))
            return convert(item, NewObservation, at=f"/items/{index}")
        except HubError as error:
            refuse(results[index], error)
            return None

    def render(self, outcome: Any, ahead: Any) -> Any:
        return {"results": outcome.result}


MOST_SHOWN, LONGEST_SHOWN = 3, 500  # faults per item, characters: those of 1000 items must fit into one response


def refuse(result: dict[str, Any], error: HubError) -> None:
    """Make an item's result a failure, with its first faults."""
    shown = error.as_dict()
    shown |= {"detail": shown["detail"][:LONGEST_SHOWN], "errors": shown["errors"][:MOST_SHOWN], "status": error.status}
    result |= {"status": "error", "error": shown}


class PinObservation(ObservationEndpoint):
    """Pin an observation, so that it does not expire; a repeated pin changes nothing. 404 once it has expired."""

    address = "observations/<uuid:observation_id>/pin"
    verb = "observation.pin"

    def write(self, observation_id: UUID, body: EmptyBody = EmptyBody()) -> Changed[Observation]:
        pins.pin(self.viewer, observation_id=observation_id)
        return Changed(observation_id)


class UnpinObservation(ObservationEndpoint):
    """Unpin an observation; repeating it changes nothing. 204 when its expiry has passed, so that it is gone now."""

    address = "observations/<uuid:observation_id>/unpin"
    verb = "observation.unpin"

    def write(self, observation_id: UUID, body: EmptyBody = EmptyBody()) -> Changed[Observation] | None:
        pins.unpin(self.viewer, observation_id=observation_id)
        return Changed(observation_id)

    def render(self, outcome: Any, ahead: Any) -> Any:
        try:
            return super().render(outcome, ahead)
        except NotFound:
            return None
