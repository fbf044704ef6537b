"""Observations: request and response schemas."""

from typing import Annotated

from msgspec import Meta

from memoryhub.core.fields import Content, NewRow, Tags, TaskKey, Token, When
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import OPENED, Instant, Json, OfTask, Row


class NewObservation(NewRow, kw_only=True):
    """`dedupe`: equal content of one author, task and label is stored once. `token`: of the task's lease."""

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


class Observation(Row):
    """`task`: its key; null when it has none, or one that the reader may not see."""

    task: OfTask
    content: Json
    tags: list[str]
    importance: float | None
    private: bool
    pinned: bool
    occurred_at: Instant | None
    expires_at: Instant | None
    client_ref: str | None

    model = models.Observation


class MadeObservation(Observation):
    """`duplicate`: it existed already, by its `client_ref` or (with `dedupe`) its content."""

    duplicate: Annotated[bool, OPENED]
