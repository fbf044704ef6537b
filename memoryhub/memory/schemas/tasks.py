"""Tasks: request and response schemas."""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from memoryhub.core.fields import JsonObject as NewJsonObject
from memoryhub.core.fields import Line, NewRow, Schema, Shape, TaskKey
from memoryhub.memory import models
from memoryhub.memory.schemas.rows import OPENED, Instant, InText, Json, JsonObject, Row, Sql, one_of

TaskStatus = Annotated[str, one_of(*models.TaskStatus.values)]
Requester = Annotated[str, Meta(max_length=200)]
# Whether a person has the task: as long as their claim's lease is live, or suspended (null), and they may work on it. A
# claim that is over is over at once, whether or not that is recorded yet.
PERSONS = """(human_owned and coalesce(lease_expires_at > clock_timestamp(), true)
    and may_work_on(holder_id, label_id))"""
LIVE_LEASE = f"(coalesce(r.lease_expires_at > statement_timestamp(), false) and (not r.human_owned or {PERSONS}))"

_HOLDER = f"case when {LIVE_LEASE} then (select m.name from membership m where m.id = r.holder_id) end"


class NewTask(NewRow, kw_only=True):
    key: TaskKey
    title: Line
    requester: Requester = ""
    metadata: NewJsonObject = {}


class TaskChange(Shape, kw_only=True):
    # A change may set the status, so here it is not read-only.
    read_only: ClassVar[frozenset[str]] = Shape.read_only - {"status"}
    title: Line | UnsetType = UNSET
    requester: Requester | UnsetType = UNSET
    metadata: NewJsonObject | UnsetType = UNSET
    status: Literal["open", "blocked", "cancelled"] | UnsetType = UNSET


class Lease(Schema):
    token: int
    held_by: str
    expires_at: Instant | None


class Task(Row):
    key: str
    title: Annotated[str, InText(b'""')]
    requester: Annotated[str, InText(b'""')]
    metadata: JsonObject
    outcome: Json
    status: TaskStatus
    version: int
    in_progress: Annotated[bool, OPENED]
    assigned_to: Annotated[str | None, Sql(_HOLDER)]
    human_owned: Annotated[bool, Sql(PERSONS)]
    lease: Annotated[Lease | None, OPENED]
    reopen_count: int
    client_ref: str | None

    model = models.Task
