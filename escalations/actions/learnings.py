"""Learnings: what a person's answer teaches for the next time."""

from typing import Any
from uuid import UUID

from escalations.actions.common import lock
from escalations.models import Answer, Escalation
from escalations.permissions import VERBS, require
from escalations.states import RESOLVED, TRANSITIONS
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import action
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.learnings import add
from memoryhub.memory.models import Signal
from memoryhub.memory.schemas.learnings import NewLearning


@action("escalation.learn", roles=VERBS["learn"].roles)
def learn(
    viewer: Viewer, *, escalation_id: UUID, signal_type: str, details: Any, context: dict[str, Any] | None = None
) -> tuple[UUID, bool]:
    """Make a learning of an answered escalation, under its label. Returns its id, and whether this call made it.

    An escalation has at most one: of concurrent calls the first is stored, and all return its id. Raises NotFound;
    Conflict (wrong_state) where no person has resolved the escalation, or the answer was not handed back.
    """
    escalation, task = lock(viewer, escalation_id)
    if not is_resolved(viewer, escalation):
        why = "Nobody has resolved this escalation yet: there is nothing to learn from it."
        if escalation.state == RESOLVED:
            why = "The answer has not been handed back yet, and agents read learnings: hand it back first."
        raise Conflict(Code.WRONG_STATE, why, state=escalation.state)
    require(viewer, escalation, "learn")
    learnt = NewLearning(signal_type=Signal(signal_type), details=details, context=context or {})
    return add(viewer, label_by_id(escalation.label_id), learnt, task_id=task.id, source=escalation.id)


def is_resolved(viewer: Viewer, escalation: Escalation) -> bool:
    """Whether a person's answer was handed back, or they have done the work: no agent may learn of it before."""
    if escalation.state not in TRANSITIONS["learn"]:
        return False
    answers = Answer.objects.filter(escalation_id=escalation.id, round=escalation.round, withdrawn_at=None)
    return visible_to(viewer, answers).exists()
