"""Alerts: request and response schemas."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from memoryhub.core.fields import Line, NewRow, Schema, Shape, TaskKey, Text, When
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import Instant, InText, OfTask, Row, Sql, one_of

Severity = Annotated[str, one_of(*models.Severity.values)]
MAX_RECIPIENTS = 1000


class AlertGroup(Shape, kw_only=True):
    """The active agents of a group (see `GET /agents`)."""

    group: Line


class NewAlert(NewRow, kw_only=True):
    to: Annotated[list[Line], Meta(min_length=1, max_length=MAX_RECIPIENTS)] | AlertGroup | Literal["all"]
    insight: Text
    severity: models.Severity = models.Severity.INFO
    task: TaskKey | None = None
    expires_at: When | None = None


class Receipt(Schema):
    name: str
    acknowledged_at: Instant | None


class Alert(Row):
    """`acknowledged_at`: by the reader; null also when it was not sent to them. The last three: for its sender only."""

    task: OfTask
    insight: Annotated[str, InText(b'""')]
    severity: Severity
    expires_at: Instant | None
    acknowledged_at: Annotated[Instant | None, Sql("x.acknowledged_at")]
    client_ref: Annotated[str | None, Sql("case when r.author_id = %(own)s::uuid then r.client_ref end")]
    recipient_count: int | UnsetType = UNSET
    acknowledged_count: int | UnsetType = UNSET
    recipients: list[Receipt] | UnsetType = UNSET

    model = models.Alert


class PushedAlert(Row):
    """An alert in a stream. `insight` is null when it is confidential: `GET /alerts/{id}` opens it and records that."""

    insight: str | None
    severity: Severity
    expires_at: Instant | None
