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
    """A verb on a decision that is answered with the decision."""

    def row(self, result: Any) -> Question[Stored[Decision]]:
        return memories.one(self.viewer, Decision, result)


class Decisions(ReadEndpoint, DecisionEndpoint):
    """What was decided."""

    verb = "decision.record"

    def read(self, query: DecisionQuery) -> Page[Decision]:
        """List decisions, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        filters = filters_of(self.viewer, query)
        filters.status = query.status
        return self.page(memories.lister(self.viewer, Decision, filters, most_bytes=room()))

    def write(self, body: NewDecision) -> Made[MadeDecision]:
        """Record a decision: 201, or 200 with `duplicate` for a `client_ref` that was there already.

        409 human_owned while a person has the task, lease_lost on an old token. Of concurrent requests with one
        `action_key` one is recorded; the others get 409 action_conflict, with the holder where they may know it.
        """
        return Made(*decisions.record(self.viewer, item=body))


class OneDecision(ReadEndpoint):
    """One decision, whatever its status."""

    def read(self, decision_id: UUID) -> Decision:
        """Read a decision, as it is at one moment; a confidential one's reading is recorded."""
        return self.show(memories.one(self.viewer, Decision, decision_id).ask())


class SupersedeDecision(DecisionEndpoint):
    """Replace an active decision: 201 with the new one. It keeps the `action_key` unless it names another.

    Of concurrent requests exactly one succeeds, and the `action_key` is never free in between. 409 wrong_state for what
    is no longer active, and as recording; 400 for one that rests on what it replaces.
    """

    verb = "decision.supersede"

    def write(self, decision_id: UUID, body: Replacement) -> Made[MadeDecision]:
        return Made(*decisions.supersede(self.viewer, decision_id=decision_id, item=body))


class RevokeDecision(DecisionEndpoint):
    """Withdraw an active decision; its `action_key` is free again. 409 wrong_state for what is no longer active.

    Of concurrent requests, to revoke and to supersede, exactly one succeeds.
    """

    verb = "decision.revoke"

    def write(self, decision_id: UUID, body: Revocation) -> Changed[Decision]:
        return Changed(decisions.revoke(self.viewer, decision_id=decision_id, reason=body.reason, token=body.token))


class DecisionOutcome(DecisionEndpoint):
    """Say whether a decision worked or failed, whatever its status; a learning is made of it.

    The last word counts, and changes that learning; saying the same again changes nothing.
    """

    verb = "decision.outcome"

    def write(self, decision_id: UUID, body: Judgement) -> Changed[Decision]:
        return Changed(
            decisions.outcome(self.viewer, decision_id=decision_id, outcome=body.outcome.value, note=body.note or "")
        )
