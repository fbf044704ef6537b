"""/api/v1/decisions: record, list, supersede, revoke, outcome."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from agents.api.doors import Answer, Outcome, Reading, Writing, not_found_at, room
from agents.api.observations import LIST_PARAMETERS, filters_of
from agents.api.tasks import Token, level_value, none_if_unset
from memoryhub.core.errors import NotFound
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.pagination import Listed
from memoryhub.interface.http.shapes import Content, Key, NewRow, Shape, TaskKey, Text, Uuid
from memoryhub.memory import answers, rendering
from memoryhub.memory.actions import decisions
from memoryhub.memory.models import DecisionStatus
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors


class Replacement(NewRow, kw_only=True):
    decision: Content
    reasoning: Text
    based_on: Annotated[list[Uuid], Meta(max_length=100)] = []
    action_key: Key | None = None
    token: Token | None = None


class NewDecision(Replacement, kw_only=True):
    task: TaskKey


class Decisions(Reading, Writing):
    """What was decided."""

    verb = "decision.record"
    shape = NewDecision
    shows = Listed[answers.Decision]
    answers: ClassVar[Mapping[int, Any]] = {200: answers.MadeDecision, 201: answers.MadeDecision}
    parameters: ClassVar[frozenset[str]] = LIST_PARAMETERS | {"status"}

    def read(self, **url: Any) -> Answer:
        """List decisions, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        filters = filters_of(self.viewer, self.params)
        filters.status = self.params.choice("status", DecisionStatus.values)

        def fetch(position: Any, backwards: bool, limit: int) -> list[memories.DecisionRow]:
            return memories.decisions(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.paged(fetch, rendering.decision)

    def write(self, body: NewDecision, **url: Any) -> Outcome:
        """Record a decision: 201, or 200 with `duplicate` for a `client_ref` that was there already.

        409 human_owned while a person has the task, lease_lost on an old token. Of several at once with one
        `action_key` one is recorded; the others get 409 action_conflict, with the holder where they may know it.
        """
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task)
        row_id, created = decisions.record(
            self.viewer,
            task=task,
            decision=body.decision,
            reasoning=body.reasoning,
            based_on=body.based_on,
            action_key=body.action_key,
            token=body.token,
            client_ref=body.client_ref,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
        )
        return Outcome(201 if created else 200, str(row_id))

    def render(self, outcome: Outcome) -> Answer:
        found = one(self.viewer, UUID(outcome.result))
        return Answer({**found, "duplicate": outcome.status == 200}, outcome.status)


def one(viewer: Viewer, decision_id: UUID) -> answers.Decision:
    """The visible decision with this id, as it is answered. Raises NotFound."""
    rows = memories.decisions(viewer, memories.Filters(ids=[decision_id]), limit=1)
    if not rows:
        raise NotFound()
    return rendering.decision(rows[0])


class OneDecision(Reading):
    """One decision, whatever its status."""

    shows = answers.Decision

    def read(self, **url: Any) -> Answer:
        """Read a decision, as it is at one moment; a confidential one's reading is recorded."""
        return Answer(one(self.viewer, url["decision_id"]))


class SupersedeDecision(Writing):
    """Replace an active decision: 201 with the new one. It keeps the `action_key` unless it names another.

    Of several at once exactly one succeeds, and the `action_key` is never free in between. 409 wrong_state for what is
    no longer active, and as recording; 400 for one that rests on what it replaces.
    """

    verb = "decision.supersede"
    shape = Replacement
    answers: ClassVar[Mapping[int, Any]] = {200: answers.MadeDecision, 201: answers.MadeDecision}

    def write(self, body: Replacement, **url: Any) -> Outcome:
        row_id, created = decisions.supersede(
            self.viewer,
            decision_id=url["decision_id"],
            decision=body.decision,
            reasoning=body.reasoning,
            based_on=body.based_on,
            action_key=body.action_key,
            token=body.token,
            client_ref=body.client_ref,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
        )
        return Outcome(201 if created else 200, str(row_id))

    def render(self, outcome: Outcome) -> Answer:
        return Answer({**one(self.viewer, UUID(outcome.result)), "duplicate": outcome.status == 200}, outcome.status)


class DecisionVerb(Writing):
    """A verb on a decision that is answered with the decision."""

    answers: ClassVar[Mapping[int, Any]] = {200: answers.Decision}

    def render(self, outcome: Outcome) -> Answer:
        return Answer(one(self.viewer, UUID(outcome.result)))


class Revocation(Shape, kw_only=True):
    reason: Text
    token: Token | None = None


class RevokeDecision(DecisionVerb):
    """Withdraw an active decision; its `action_key` is free again. 409 wrong_state for what is no longer active.

    Of several at once, and of revoking and superseding at once, exactly one succeeds.
    """

    verb = "decision.revoke"
    shape = Revocation

    def write(self, body: Revocation, **url: Any) -> Outcome:
        done = decisions.revoke(self.viewer, decision_id=url["decision_id"], reason=body.reason, token=body.token)
        return Outcome(200, str(done))


class Result(Shape, kw_only=True):
    outcome: Literal["worked", "failed"]
    note: Text | None = None


class DecisionOutcome(DecisionVerb):
    """Say whether a decision worked or failed, whatever its status; a learning is made of it.

    The last word counts, and changes that learning; saying the same again changes nothing.
    """

    verb = "decision.outcome"
    shape = Result

    def write(self, body: Result, **url: Any) -> Outcome:
        done = decisions.outcome(
            self.viewer, decision_id=url["decision_id"], outcome=body.outcome, note=body.note or ""
        )
        return Outcome(200, str(done))
