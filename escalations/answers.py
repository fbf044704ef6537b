"""What escalations are answered with: the contract that selectors fill and the API's description tells."""

from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID

from escalations.states import ANSWERED, STATES
from memoryhub.memory.answers import Decision, Instant, Observation, Row, Task, one_of

State = Annotated[str, one_of(*STATES)]
Priority = Annotated[str, one_of("low", "normal", "high", "urgent")]
Verdict = Annotated[str, one_of("approve", "edit", "respond", "reject", "ignore")]


class Escalation(Row):
    """`owner`: who has claimed it. `unacknowledged`: the agent did not take its answer in time.

    `priority_lowered`: there, and true, where `urgent` was asked and `high` given: too many urgent ones of its agent
    were open.
    """

    task: str
    state: State
    version: int
    reason_code: str
    reason: str | None
    question: str | None
    recommendation: str | None
    action: dict[str, Any] | None
    allowed: list[Verdict]
    priority: Priority
    priority_lowered: NotRequired[bool]
    queue: str
    assigned_to: str | None
    owner: str | None
    claimed_at: Instant | None
    claim_expires_at: Instant | None
    handed_back_at: Instant | None
    closed_at: Instant | None
    unacknowledged: bool
    client_ref: str | None


class FullContext(TypedDict):
    """The task (null without the scope `tasks`), and a page of its memory, newest first (none without `memory:read`).

    `unread`: keys of facts that found no room; each can be read as of `as_of`.

    `status` is the escalation's state.
    """

    task: Task | None
    observations: list[Observation]
    decisions: list[Decision]
    facts: list[Any]
    learnings: list[Any]
    status: State
    unread: NotRequired[list[str]]


class Package(TypedDict):
    """The hand-over: the task's memory as of `as_of`, the `seq` at which it froze.

    `omitted`: the scopes that the key lacks to read all of it; there when something was left out for that.
    `withheld`: only people are told.
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
    full_context: FullContext
    omitted: NotRequired[list[Annotated[str, one_of("memory:read", "tasks")]]]
    withheld: NotRequired[int]


class PackagePage(Package):
    next: str | None
    previous: str | None


class EscalationWithPackage(Escalation):
    """`package`: its first page. `joined`: there, and true, when another had asked already: its answer is theirs."""

    package: Package
    joined: NotRequired[bool]


class ActionTaken(TypedDict):
    name: str | None
    arguments: dict[str, Any]


class Answer(TypedDict):
    """What the person said or did. `decision`: null when nobody decided; `action`: there when one is to be taken.

    `answered_other`: what was decided is for who asked; others are told the words, and by whom. `decision` and `action`
    are nobody else's.
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
    message: NotRequired[str]
    action: NotRequired[ActionTaken]
