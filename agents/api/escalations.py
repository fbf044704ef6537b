"""/api/v1/escalations: ask for a person, read the package, acknowledge, cancel. `answer` waits: agents.waiting."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import Meta, field

from agents.api.doors import Answer, Outcome, Reading, Writing, fitting, keyset, not_found_at, room
from agents.api.tasks import Reason
from escalations import answers as answered
from escalations.actions import answers
from escalations.actions.escalate import escalate
from escalations.models import Escalation, Priority
from escalations.selectors import escalations, packages
from escalations.standing import in_states
from escalations.states import STATES
from memoryhub.core.access.permissions import has_scope
from memoryhub.interface.http.etags import make_tag
from memoryhub.interface.http.json import dump, member_text
from memoryhub.interface.http.pagination import Listed, page, read_window
from memoryhub.interface.http.shapes import JsonObject, Key, Line, Shape, TaskKey, Text
from memoryhub.interface.http.shapes import Priority as PriorityName
from memoryhub.memory import rendering
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors

FIRST_PAGE = 50

ReasonCode = Literal[
    "policy_exception",
    "missing_information",
    "low_confidence",
    "tool_failure",
    "customer_request",
    "approval_required",
    "conflict",
    "safety",
    "other",
]
Verdict = Literal["approve", "edit", "respond", "reject", "ignore"]


class Action(Shape, kw_only=True):
    """`schema`: what an edit's arguments must fit, in the subset of JSON Schema that docs/action-schemas.md tells.

    `pattern` and `format` are taken, not applied; a keyword outside of the subset is refused (400).
    """

    name: Line
    arguments: JsonObject
    schema: JsonObject | None = None


class NewEscalation(Shape, kw_only=True):
    task: TaskKey
    reason_code: ReasonCode
    reason: Text
    question: Text
    allowed: Annotated[list[Verdict], Meta(min_length=1, max_length=5)] = field(default_factory=lambda: ["respond"])
    action: Action | None = None
    recommendation: Text | None = None
    priority: PriorityName = "normal"
    assigned_to: Line | None = None
    client_ref: Key | None = None


class Escalations(Reading, Writing):
    """What was asked of people."""

    verb = "escalation.escalate"
    scope = "escalations"
    shape = NewEscalation
    shows = Listed[answered.Escalation]
    answers: ClassVar[Mapping[int, Any]] = {
        200: answered.EscalationWithPackage,
        201: answered.EscalationWithPackage,
    }
    parameters: ClassVar[frozenset[str]] = frozenset({"task", "state", "limit", "cursor"})

    def read(self, **url: Any) -> Answer:
        """List escalations, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        rows = escalations.escalations(self.viewer)
        if key := self.params.task_key("task"):
            rows = rows.filter(task_id=task_selectors.ref_by_key(self.viewer, key).id)
        if state := self.params.choice("state", STATES):
            rows = in_states(rows, [state])
        return self.paged(keyset(rows), escalations.render)

    def write(self, body: NewEscalation, **url: Any) -> Outcome:
        """Ask for a person: 201 with the package's first page, or 200 with the escalation that is open already.

        At most one is open a task: of two requests at once one makes it and the other is added to it as a note. Where
        that one is another's, `joined` is true, and its answer has the outcome `answered_other`. Of the package it
        holds what the key's scopes may read; `omitted` names those that are missing.
        """
        action = body.action
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task)
        made, created = escalate(
            self.viewer,
            task=task,
            reason_code=body.reason_code,
            reason=body.reason,
            question=body.question,
            allowed=body.allowed,
            action=self._action(action) if action else None,
            recommendation=body.recommendation or "",
            priority=Priority[body.priority.upper()].value,
            assigned_to=body.assigned_to,
            client_ref=body.client_ref,
        )
        return Outcome(201 if created else 200, str(made.id))

    def _action(self, action: Action) -> dict[str, Any]:
        """With the arguments as the text that came, too: so they are kept, shown and given back."""
        text = member_text(self.request._request.body, "action", "arguments")
        return {
            "name": action.name,
            "arguments": action.arguments,
            "arguments_json": text,
            "schema": action.schema,
        }

    def render(self, outcome: Outcome) -> Answer:
        row = escalations.escalation(self.viewer, UUID(outcome.result))
        filters, part = escalations.frozen(row), room() // 4
        most = FIRST_PAGE if has_scope(self.viewer, escalations.MEMORY) else 0
        first = escalations.package(self.viewer, row, most_bytes=part)
        observations = memories.observations(self.viewer, filters, limit=most, most_bytes=part)
        decisions = memories.decisions(self.viewer, filters, limit=most, most_bytes=part)
        _add(first, fitting(observations, rendering.observation, part), fitting(decisions, rendering.decision, part))
        data = {**escalations.render(row), "package": first}
        if row.author_id != self.viewer.membership:
            data["joined"] = True
        return Answer(data, outcome.status, {"ETag": make_tag(row.id, row.version, row.change)})


class OneEscalation(Reading):
    """State, owner and version, as they are at one moment, with the ETag."""

    scope = "escalations"
    answers: ClassVar[Mapping[int, Any]] = {200: answered.Escalation}

    def read(self, **url: Any) -> Answer:
        row = escalations.escalation(self.viewer, url["escalation_id"])
        return Answer(escalations.render(row), headers={"ETag": make_tag(row.id, row.version, row.change)})


class Package(Reading):
    """The task's memory as of the escalation, newest first; observations and decisions share a page's `limit`.

    Of it what the key's scopes may read: observations, decisions, facts and learnings need `memory:read`, the task
    `tasks`. Up to 10,000 rows a page, or as many as an answer of 8 MiB holds. What is written meanwhile changes no
    page: each shows the memory as it was when the escalation was made.
    """

    scope = "escalations"
    answers: ClassVar[Mapping[int, Any]] = {200: answered.PackagePage}
    parameters: ClassVar[frozenset[str]] = frozenset({"limit", "cursor"})

    def read(self, **url: Any) -> Answer:
        row = escalations.escalation(self.viewer, url["escalation_id"])
        window = read_window(
            self.params, address=self.request.path, owner=self.viewer.membership, most=packages.MOST_ROWS
        )
        data = escalations.package(self.viewer, row, most_bytes=room() // 4)
        left = room() - len(dump(data))
        rows = packages.rows(
            self.viewer,
            row,
            position=window.position,
            backwards=window.backwards,
            limit=window.limit + 1,
            most_bytes=left,
        )
        shown = fitting(rows[: window.limit], _rendered, left)
        made = page(window, rows, lambda found: str(found.id), at_most=len(shown))
        of_kind: dict[type, list[Any]] = {memories.ObservationRow: [], memories.DecisionRow: []}
        for found, one in zip(made.results, shown[::-1] if window.backwards else shown, strict=True):
            of_kind[type(found)].append(one)
        _add(data, *of_kind.values())
        return Answer({**data, "next": made.next, "previous": made.previous}, headers=made.headers)


def _rendered(row: memories.ObservationRow | memories.DecisionRow) -> Any:
    return rendering.observation(row) if isinstance(row, memories.ObservationRow) else rendering.decision(row)


def _add(package: answered.Package, observations: list[Any], decisions: list[Any]) -> None:
    package["full_context"] |= {"observations": observations, "decisions": decisions}


class Nothing(Shape, kw_only=True):
    pass


class EscalationVerb(Writing):
    """A verb on an escalation that is answered with the escalation."""

    answers: ClassVar[Mapping[int, Any]] = {200: answered.Escalation}

    def write(self, body: Any, **url: Any) -> Outcome:
        return Outcome(200, str(self.act(url["escalation_id"], body).id))

    def act(self, escalation_id: UUID, body: Any) -> Escalation:
        """Call the action."""
        raise NotImplementedError

    def render(self, outcome: Outcome) -> Answer:
        row = escalations.escalation(self.viewer, UUID(outcome.result))
        return Answer(escalations.render(row), headers={"ETag": make_tag(row.id, row.version, row.change)})


class Acknowledge(EscalationVerb):
    """The agent has the answer and resumes. 409 wrong_state while there is no answer.

    Repeating it is fine, and of several at once one changes something.
    """

    verb = "escalation.acknowledge"
    shape = Nothing
    body_optional = True

    def act(self, escalation_id: UUID, body: Nothing) -> Escalation:
        return answers.acknowledge(self.viewer, escalation_id=escalation_id)


class Cancel(EscalationVerb):
    """It is no longer needed. 409 not_owner for another agent's, wrong_state when it was answered meanwhile.

    Of a cancellation and an answer at once one counts.
    """

    verb = "escalation.cancel"
    shape = Reason

    def act(self, escalation_id: UUID, body: Reason) -> Escalation:
        return answers.cancel(self.viewer, escalation_id=escalation_id, reason=body.reason)
