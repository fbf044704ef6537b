"""Escalations: request schema, and response schemas of an escalation, its package and its answer."""

from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType, field

from escalations import models
from escalations.states import ANSWERED, STATES
from memoryhub.core.fields import JsonObject, Key, Line, Schema, Shape, TaskKey, Text
from memoryhub.core.fields import Priority as PriorityName
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.rows import Instant, InText, OfTask, Row, Sql, one_of
from memoryhub.memory.schemas.tasks import Task

State = Annotated[str, one_of(*STATES)]
Priority = Annotated[str, one_of(*models.Priority.labels)]
VERDICTS = tuple(verdict.value for verdict in models.Verdict if verdict != models.Verdict.FINISH)
Verdict = Annotated[str, one_of(*VERDICTS)]
Allowed = Literal[VERDICTS]  # type: ignore[valid-type]  # the words are listed once, in the model's enum
Scope = Annotated[str, one_of("memory:read", "tasks")]


class Action(Shape, kw_only=True):
    """`schema`: of an edit's arguments, in the subset of JSON Schema that docs/action-schemas.md describes.

    `pattern` and `format` are accepted, not applied; an unsupported keyword is refused (400).
    """

    name: Line
    arguments: JsonObject
    schema: JsonObject | None = None


class NewEscalation(Shape, kw_only=True):
    task: TaskKey
    reason_code: models.ReasonCode
    reason: Text
    question: Text
    allowed: Annotated[list[Allowed], Meta(min_length=1, max_length=5)] = field(default_factory=lambda: ["respond"])
    action: Action | None = None
    recommendation: Text | None = None
    priority: PriorityName = "normal"
    assigned_to: Line | None = None
    client_ref: Key | None = None


class ActionTaken(Schema):
    name: str | None
    arguments: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class ProposedAction(ActionTaken):
    """An action as it was proposed: its arguments verbatim, and the schema of an edit's arguments."""

    schema: dict[str, Any] | None


class Note(Row):
    """A note on an escalation that agents may read, too: a person's, or the question of a second request."""

    task: OfTask
    escalation: Annotated[UUID, Sql("r.escalation_id")]
    text: Annotated[str, InText(b'""')]

    model = models.Note
    stands = "r.audience = 'everyone'"


class GivenAnswer(Row):
    """What a person said and did when they answered or ended an escalation. The decision is in the escalation's answer.

    `seq`: from which on agents can read it.
    """

    task: OfTask
    escalation: Annotated[UUID, Sql("r.escalation_id")]
    message: Annotated[str | None, InText()]
    done: Annotated[str | None, InText()]
    next: Annotated[str | None, InText()]

    model = models.Answer
    clock = "given_id"
    stands = "r.given_id is not null and r.withdrawn_at is null"


class _Lowered(Row, kw_only=True):
    priority_lowered: bool | UnsetType = UNSET


class Escalation(_Lowered):
    """`owner`: who has claimed it. `unacknowledged`: the agent did not take its answer in time.

    `priority_lowered`: present, and true, where `urgent` was requested and `high` granted: its agent had too many open
    urgent ones.
    """

    task: str
    state: State
    version: int
    reason_code: str
    reason: str | None
    question: str | None
    recommendation: str | None
    action: ProposedAction | None
    allowed: list[Verdict]
    priority: Priority
    queue: str
    assigned_to: str | None
    owner: str | None
    claimed_at: Instant | None
    claim_expires_at: Instant | None
    handed_back_at: Instant | None
    closed_at: Instant | None
    unacknowledged: bool
    client_ref: str | None

    model = models.Escalation


class _Narrowed(Schema, kw_only=True):
    omitted: list[Scope] | UnsetType = UNSET
    withheld: int | UnsetType = UNSET


class Package(_Narrowed):
    """The hand-over: the task's memory as of `as_of`, the `seq` of the escalation.

    `omitted`: the scopes that the key lacks to read all of it; present when something was left out. `withheld`: shown
    to people only.
    """

    escalation: UUID
    escalated_by_agent: str
    reason: str | None
    reason_code: str
    question: str | None
    assigned_to: str | None
    escalation_time: Instant
    as_of: int
    task_id: str
    full_context: Any  # full_context_schema()


class PackagePage(Package):
    next: str | None
    previous: str | None


class EscalationWithPackage(Escalation):
    """`package`: its first page. `joined`: present, and true, when another had escalated the task: the answer is
    theirs.
    """

    package: Package
    joined: bool | UnsetType = UNSET


@cache
def full_context_schema() -> type[msgspec.Struct]:
    """The schema of a package's content, from the registered kinds."""
    about = (
        "The task (null without the scope `tasks`), and its memory (none without `memory:read`): a page of the kinds"
        " with many rows, newest first, and the others whole. `unread`: keys of facts that did not fit; each can be"
        " read as of `as_of`. `status` is the escalation's state."
    )
    return msgspec.defstruct(
        "FullContext",
        [
            ("task", Task | None),
            *[(kind.plural, list[kind.schema]) for kind in KINDS.values()],  # type: ignore[name-defined]
            ("status", State),
            ("unread", list[str] | UnsetType, UNSET),
        ],
        bases=(Schema,),
        namespace={"__doc__": about},
    )


def _with(schema: type[Schema], **fields: Any) -> type[msgspec.Struct]:
    """The schema with other types for these fields, which are known only now."""
    named = {"__doc__": schema.__doc__}
    return msgspec.defstruct(schema.__name__, list(fields.items()), bases=(schema,), namespace=named)


@cache
def page_schema() -> type[msgspec.Struct]:
    """The schema of a page of a package."""
    return _with(PackagePage, full_context=full_context_schema())


@cache
def made_schema() -> type[msgspec.Struct]:
    """The schema of an escalation with its package."""
    return _with(EscalationWithPackage, package=_with(Package, full_context=full_context_schema()))


class Answer(Schema):
    """What the person said or did. `decision`: null when nobody decided; `action`: present when one is to be taken.

    `answered_other`: the decision is for the agent that requested it; others are shown the words and their author,
    without `decision` and `action`.
    """

    escalation: UUID
    task: str
    state: Annotated[str, one_of(*ANSWERED)]
    outcome: Annotated[str, one_of("answered", "answered_other", "finished", "cancelled", "expired")]
    decision: str | None
    by: str | None
    done: str
    next: str
    at: Instant | None
    message: str | UnsetType = UNSET
    action: ActionTaken | UnsetType = UNSET
