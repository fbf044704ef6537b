"""Decisions: request and response schemas."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from memoryhub.core.access.clearance import VISIBLE
from memoryhub.core.fields import Content, Key, NewRow, Shape, TaskKey, Text, Token, Uuid
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import OPENED, InText, Json, OfTask, Row, Sql, one_of

DecisionStatus = Annotated[str, one_of(*models.DecisionStatus.values)]
DecisionOutcome = Annotated[str, one_of(*models.Outcome.values)]
# By the label of the newer one: a reader may see that a decision is superseded, and not by which one.
_NEWER = f"(select n.id from decision n where n.supersedes = r.id and n.{VISIBLE})"


class Replacement(NewRow, kw_only=True):
    decision: Content
    reasoning: Text
    based_on: Annotated[list[Uuid], Meta(max_length=100)] = []
    action_key: Key | None = None
    token: Token | None = None


class NewDecision(Replacement, kw_only=True):
    task: TaskKey


class Revocation(Shape, kw_only=True):
    reason: Text
    token: Token | None = None


class Judgement(Shape, kw_only=True):
    outcome: models.Outcome
    note: Text | None = None


class Decision(Row):
    """`superseded_by`: null also when the newer decision is hidden."""

    task: OfTask
    decision: Json
    reasoning: Annotated[str, InText(b'""')]
    based_on: list[UUID]
    action_key: str | None
    status: DecisionStatus
    supersedes: UUID | None
    superseded_by: Annotated[UUID | None, Sql(_NEWER)]
    revoke_reason: Annotated[str | None, InText()]
    outcome: DecisionOutcome | None
    outcome_note: Annotated[str | None, InText()]
    client_ref: str | None

    model = models.Decision


class MadeDecision(Decision):
    """`duplicate`: it existed already, by its `client_ref`."""

    duplicate: Annotated[bool, OPENED]
