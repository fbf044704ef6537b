"""Facts: request and response schemas."""

from typing import Annotated

from msgspec import Meta

from memoryhub.core.fields import FactKey, JsonValue, NewRow, Schema, Shape, TaskKey, When
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import Instant, Json, OfTask, Row

MAX_KEYS = 200
TEN_YEARS = 315_360_000  # seconds


class NewFact(NewRow, kw_only=True):
    """The whole fact: a member that is left out is cleared. `ttl_seconds`: from now."""

    value: JsonValue
    task: TaskKey | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=TEN_YEARS)] | None = None
    valid_from: When | None = None
    valid_to: When | None = None


class FactKeys(Shape, kw_only=True):
    keys: Annotated[list[FactKey], Meta(min_length=1, max_length=MAX_KEYS)]


class Fact(Row):
    """One version of a fact: `id` is the fact's, the same in all versions; `seq`, author and time are the version's."""

    key: str
    value: Json
    version: int
    task: OfTask
    expires_at: Instant | None
    valid_from: Instant | None
    valid_to: Instant | None
    client_ref: str | None

    model = models.Fact


class FactVersion(Fact):
    """A version in the history. A deleted one has no value."""

    deleted: bool


class FactsRead(Schema):
    """`facts` by key; `missing`: keys without a visible fact; `ambiguous`: key -> the labels to choose from.

    `unread`: keys that did not fit into this answer (8 MiB), in the requested order: request them again.
    """

    facts: dict[str, Fact]
    missing: list[str]
    ambiguous: dict[str, list[str]]
    unread: list[str]
