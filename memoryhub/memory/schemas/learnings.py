"""Learnings: request and response schemas."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from memoryhub.core.fields import Content, NewRow, Schema, Shape, TaskKey, Text
from memoryhub.core.fields import JsonObject as NewJsonObject
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import OPENED, Json, JsonObject, OfTask, Row, one_of

SignalType = Annotated[str, one_of(*models.Signal.values)]
MAX_RELEVANT = 100


class NewLearning(NewRow, kw_only=True):
    """`context`: what it is found by."""

    signal_type: models.Signal
    details: Content
    context: NewJsonObject = {}
    task: TaskKey | None = None


class RelevantQuery(Shape, kw_only=True):
    context: NewJsonObject
    q: Text | None = None
    exclude_own: bool = False
    signal_types: Annotated[list[models.Signal], Meta(min_length=1, max_length=4)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_RELEVANT)] = 10


class Learning(Row):
    """`source`: the decision or escalation that it was made from."""

    task: OfTask
    signal_type: SignalType
    details: Json
    context: JsonObject
    source: UUID | None
    client_ref: str | None

    model = models.Learning


class MadeLearning(Learning):
    """`duplicate`: it existed already."""

    duplicate: Annotated[bool, OPENED]


class ContextMatch(Schema):
    """What a learning matches of the request: a member of its context (`key`), or a word anywhere (`word`)."""

    match: Annotated[str, one_of("exact", "partial", "text")]
    key: str | UnsetType = UNSET
    word: str | UnsetType = UNSET


class RelevantLearning(Learning):
    """`relevance`: from 0 to 1, in the order of the list."""

    relevance: Annotated[float, OPENED]
    matched: Annotated[list[ContextMatch], OPENED]


class RelevantLearnings(Schema):
    results: list[RelevantLearning]
