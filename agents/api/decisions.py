"""/api/v1/decisions: what agents decided, why, and whether it worked."""

from typing import Annotated, Any
from uuid import UUID

from agents.api.doors import Changed, Made, ReadEndpoint, WriteEndpoint, room
from agents.api.memories import MemoryQuery, filters_of
from memoryhub.core.transactions import Question
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.queries import about
from memoryhub.memory import models
from memoryhub.memory.actions import decisions
from memoryhub.memory.schemas.decisions import Decision, Judgement, MadeDecision, NewDecision, Replacement, Revocation
from memoryhub.memory.schemas.rows import Stored
from memoryhub.memory.selectors import memories


class DecisionQuery(MemoryQuery, kw_only=True):
    status: Annotated[models.DecisionStatus | None, about("Only decisions in this status.")] = None


class DecisionEndpoint(WriteEndpoint):
    """A verb on a decision; it returns the decision."""

    def row(self, result: Any) -> Question[Stored[Decision]]:
        return memories.one(self.viewer, Decision, result)


class Decisions(ReadEndpoint, DecisionEndpoint):
    """The team's decisions."""

    address = "decisions"
    verb = "decision.record"

    def read(self, query: DecisionQuery) -> Page[Decision]:
        """List decisions, newest first. Each page is one snapshot; `next` neither skips nor repeats a row."""
        return self.page(memories.lister(self.viewer, Decision, filters_of(self.viewer, query), most_bytes=room()))

    def write(self, body: NewDecision) -> Made[MadeDecision]:
        """Record a decision: 201, or 200 with `duplicate` for a repeated `client_ref`.

        409 human_owned while a person has the task, lease_lost on an old token. Of concurrent requests with one
        `action_key`, one is recorded; the others get 409 action_conflict, with the holder where they may see it.
        """
        return Made(*decisions.record(self.viewer, item=body))


class OneDecision(ReadEndpoint):
    """One decision, whatever its status."""

    address = "decisions/<uuid:decision_id>"

    def read(self, decision_id: UUID) -> Decision:
        """Read a decision, from one snapshot; a confidential read is recorded."""
        return self.show(memories.one(self.viewer, Decision, decision_id).ask())


class SupersedeDecision(DecisionEndpoint):
    """Supersede an active decision: 201 with the new one, which keeps the `action_key` unless it names another.

    Of concurrent requests exactly one succeeds, and the `action_key` is never free in between. 409 wrong_state when it
    is no longer active, and as for recording; 400 when the new decision is based on the old one.
    """

    address = "decisions/<uuid:decision_id>/supersede"
    verb = "decision.supersede"

    def write(self, decision_id: UUID, body: Replacement) -> Made[MadeDecision]:
        return Made(*decisions.supersede(self.viewer, decision_id=decision_id, item=body))


class RevokeDecision(DecisionEndpoint):
    """Revoke an active decision; its `action_key` is free again. 409 wrong_state when it is no longer active.

    Of concurrent requests to revoke or supersede it, exactly one succeeds.
    """

    address = "decisions/<uuid:decision_id>/revoke"
    verb = "decision.revoke"

    def write(self, decision_id: UUID, body: Revocation) -> Changed[Decision]:
        return Changed(decisions.revoke(self.viewer, decision_id=decision_id, reason=body.reason, token=body.token))


class DecisionOutcome(DecisionEndpoint):
    """Report whether a decision worked or failed, whatever its status; this creates a learning.

    The last report counts, and updates that learning; repeating it changes nothing.
    """

    address = "decisions/<uuid:decision_id>/outcome"
    verb = "decision.outcome"

    def write(self, decision_id: UUID, body: Judgement) -> Changed[Decision]:
        return Changed(
            decisions.outcome(self.viewer, decision_id=decision_id, outcome=body.outcome.value, note=body.note or "")
        )
