"""What the memory's rows are answered with: the contract that rendering fills and the API's description tells.

Fields may be added; what stands here keeps its meaning.
"""

from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID

from msgspec import Meta


def one_of(*words: str) -> Meta:
    """For a text that is one of these words."""
    return Meta(extra_json_schema={"enum": list(words)})


# A time with its offset, which every answer's is (RFC 3339, in UTC).
Instant = Annotated[datetime, Meta(tz=True)]
Sensitivity = Annotated[str, one_of("public", "internal", "confidential")]
TaskStatus = Annotated[str, one_of("open", "in_progress", "blocked", "escalated", "done", "failed", "cancelled")]
DecisionStatus = Annotated[str, one_of("active", "superseded", "revoked")]
DecisionOutcome = Annotated[str, one_of("worked", "failed")]
SignalType = Annotated[str, one_of("success", "failure", "pattern", "recommendation")]
HowMatched = Annotated[str, one_of("exact", "partial", "text")]


class Row(TypedDict):
    """What every row is answered with. `unavailable`: its sealed text does not open (moved, damaged, or key erased).

    `omitted`: the scope that a key lacks which may write the row: but ids and states, what it has not sent is empty.
    """

    id: UUID
    seq: int
    sensitivity: Sensitivity
    compartments: list[str]
    author: str
    created_at: Instant
    unavailable: NotRequired[bool]
    omitted: NotRequired[list[str]]


class Lease(TypedDict):
    token: int
    held_by: str
    expires_at: Instant | None


class Task(Row):
    key: str
    title: str
    requester: str
    metadata: dict[str, Any]
    outcome: Any
    status: TaskStatus
    version: int
    in_progress: bool
    assigned_to: str | None
    human_owned: bool
    lease: Lease | None
    reopen_count: int
    client_ref: str | None


class Observation(Row):
    """`task`: its key; null when it has none, or one that the reader may not see."""

    task: str | None
    content: Any
    tags: list[str]
    importance: float | None
    private: bool
    pinned: bool
    occurred_at: Instant | None
    expires_at: Instant | None
    client_ref: str | None


class Decision(Row):
    """`superseded_by`: null also where the newer decision may not be seen."""

    task: str | None
    decision: Any
    reasoning: str
    based_on: list[UUID]
    action_key: str | None
    status: DecisionStatus
    supersedes: UUID | None
    superseded_by: UUID | None
    revoke_reason: str | None
    outcome: DecisionOutcome | None
    outcome_note: str | None
    client_ref: str | None


Severity = Annotated[str, one_of("info", "warning", "critical")]


class Receipt(TypedDict):
    name: str
    acknowledged_at: Instant | None


class Alert(Row):
    """`acknowledged_at`: by the reader; null as well when it was not sent to them. The last three are its sender's."""

    task: str | None
    insight: str
    severity: Severity
    expires_at: Instant | None
    acknowledged_at: Instant | None
    client_ref: str | None
    recipient_count: NotRequired[int]
    acknowledged_count: NotRequired[int]
    recipients: NotRequired[list[Receipt]]


class PushedAlert(Row):
    """An alert in a stream. `insight` is null when it is confidential: `GET /alerts/{id}` opens it, recorded."""

    insight: str | None
    severity: Severity
    expires_at: Instant | None


class Made(TypedDict):
    """`duplicate`: it was there already, by its `client_ref` or (observations, when asked) its content."""

    duplicate: bool


class MadeObservation(Observation, Made):
    pass


class MadeDecision(Decision, Made):
    pass


class Learning(Row):
    """`source`: the decision or escalation that it was made of."""

    task: str | None
    signal_type: SignalType
    details: Any
    context: dict[str, Any]
    source: UUID | None
    client_ref: str | None


class Match(TypedDict):
    """What of the question a learning has: a member of the context (`key`), or a word of it anywhere (`word`)."""

    match: HowMatched
    key: NotRequired[str]
    word: NotRequired[str]


class RelevantLearning(Learning):
    """`relevance`: from 0 to 1, in the order of the list."""

    relevance: float
    matched: list[Match]


class Fact(Row):
    """One version of a fact: `id` is the fact's, the same in all versions; `seq`, author and time are the version's."""

    key: str
    value: Any
    version: int
    task: str | None
    expires_at: Instant | None
    valid_from: Instant | None
    valid_to: Instant | None
    client_ref: str | None


class FactVersion(Fact):
    """A version out of the history. A deleted one has no value."""

    deleted: bool


class FactPage(TypedDict):
    results: list[Fact]
    next: str | None
    previous: str | None


class FactHistory(TypedDict):
    results: list[FactVersion]
    next: str | None
    previous: str | None


class FactsRead(TypedDict):
    """`facts` by key; `missing`: keys without a visible fact; `ambiguous`: key -> the labels to choose from.

    `unread`: keys that found no room in this answer (8 MiB), in the order in which they were asked: ask for them again.
    """

    facts: dict[str, Fact]
    missing: list[str]
    ambiguous: dict[str, list[str]]
    unread: list[str]


class LeftOut(TypedDict):
    """How many rows found no room. `at_least`: there are more than were counted."""

    count: int
    at_least: bool


class Context(TypedDict):
    """What of a task fits into `budget` tokens. `tokens`: an estimate, a third of the bytes of the rows' JSON."""

    decisions: list[Decision]
    observations: list[Observation]
    facts: list[Fact]
    learnings: list[RelevantLearning]
    budget: int
    tokens: int
    left_out: dict[str, LeftOut]


class Matched(TypedDict):
    """What of a query a row has: words that it has whole (or another form of), phrases, and parts of its words.

    `meaning`: how near it is to what the query means, from 0 to 1, where it was found by that.
    """

    words: list[str]
    phrases: list[str]
    parts: list[str]
    meaning: NotRequired[float]


_FOUND = ("Observation", "Decision", "Fact", "Learning")
# One of these; msgspec takes no union of TypedDicts.
FoundRow = Annotated[
    Any, Meta(extra_json_schema={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in _FOUND]})
]


class Hit(TypedDict):
    """A row that was found. `highlights`: [start, end) of what matched in the snippet, in Unicode code points."""

    type: Annotated[str, one_of("observation", "decision", "fact", "learning")]
    id: UUID
    score: float
    matched: Matched
    snippet: str
    highlights: list[list[int]]
    row: FoundRow


class Hits(TypedDict):
    """The best hits first; there is no further page.

    `more`: others match, beyond `limit` or the 8 MiB of an answer. `degraded`: searching by meaning is configured, but
    not to be had just now; these were found by words alone.
    """

    results: list[Hit]
    more: bool
    degraded: NotRequired[bool]
