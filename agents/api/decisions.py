"""/api/v1/decisions: record, list."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from agents.api.doors import Answer, Outcome, Reading, Writing, named_by
from agents.api.observations import LIST_PARAMETERS, filters_of
from agents.api.tasks import Token, given, level
from memoryhub.core.errors import NotFound
from memoryhub.interface.shapes import Content, Key, NewRow, Text, Uuid
from memoryhub.memory import rendering
from memoryhub.memory.actions import decisions
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors


class NewDecision(NewRow, kw_only=True):
    task: Key
    decision: Content
    reasoning: Text
    based_on: Annotated[list[Uuid], Meta(max_length=100)] = []
    action_key: Key | None = None
    token: Token | None = None


class Decisions(Reading, Writing):
    """List decisions, newest first; record one. 409 human_owned, lease_lost, or action_conflict with the holder."""

    shape = NewDecision
    parameters: ClassVar[frozenset[str]] = LIST_PARAMETERS

    def read(self, **url: Any) -> Answer:
        filters = filters_of(self.viewer, self.params)

        def fetch(position: Any, backwards: bool, limit: int) -> list[memories.DecisionRow]:
            return memories.decisions(self.viewer, filters, position=position, backwards=backwards, limit=limit)

        return self.paged(fetch, rendering.decision)

    def write(self, body: NewDecision, **url: Any) -> Outcome:
        with named_by("/task"):
            task = task_selectors.ref(self.viewer, body.task)
        row_id, created = decisions.record(
            self.viewer,
            task=task,
            decision=body.decision,
            reasoning=body.reasoning,
            based_on=body.based_on,
            action_key=body.action_key,
            token=body.token,
            client_ref=body.client_ref,
            sensitivity=level(body.sensitivity),
            compartments=given(body.compartments),
        )
        return Outcome(201 if created else 200, str(row_id))

    def render(self, outcome: Outcome) -> Answer:
        rows = memories.decisions(self.viewer, memories.Filters(ids=[outcome.result]), limit=1)
        if not rows:  # a replay by somebody who may no longer see it
            raise NotFound()
        return Answer({**rendering.decision(rows[0]), "duplicate": outcome.status == 200}, outcome.status)
