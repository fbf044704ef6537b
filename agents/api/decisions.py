"""/api/v1/decisions: record, list."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from agents.api.doors import Answer, Outcome, Reading, Writing, named_by
from agents.api.observations import LIST_PARAMETERS, filters_of
from agents.api.tasks import Token, given, level
from memoryhub.core.errors import NotFound
from memoryhub.interface.pagination import Listed
from memoryhub.interface.shapes import Content, Key, NewRow, Text, Uuid
from memoryhub.memory import answers, rendering
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
    """What was decided."""

    shape = NewDecision
    shows = Listed[answers.Decision]
    answers: ClassVar[Mapping[int, Any]] = {200: answers.MadeDecision, 201: answers.MadeDecision}
    parameters: ClassVar[frozenset[str]] = LIST_PARAMETERS

    def read(self, **url: Any) -> Answer:
        """List decisions, newest first. A page is one snapshot; the next skip and repeat nothing made meanwhile."""
        filters = filters_of(self.viewer, self.params)

        def fetch(position: Any, backwards: bool, limit: int) -> list[memories.DecisionRow]:
            return memories.decisions(self.viewer, filters, position=position, backwards=backwards, limit=limit)

        return self.paged(fetch, rendering.decision)

    def write(self, body: NewDecision, **url: Any) -> Outcome:
        """Record a decision: 201, or 200 with `duplicate` for a `client_ref` that was there already.

        409 human_owned while a person has the task, lease_lost on an old token. Of several at once with one
        `action_key` one is recorded; the others get 409 action_conflict, with the holder where they may know it.
        """
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
