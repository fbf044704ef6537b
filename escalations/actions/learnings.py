"""Learnings: a person's resolution, for the next time."""

from typing import Any
from uuid import UUID

from escalations.actions.common import lock
from escalations.models import Answer, Escalation
from escalations.states import CLOSED, HANDED_BACK, RESOLVED
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import DESK, action
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.learnings import add


@action("escalation.learn", roles=DESK)
def learn(
    viewer: Viewer, *, escalation_id: UUID, signal_type: str, details: Any, context: dict[str, Any] | None = None
) -> tuple[UUID, bool]:
    """Make a learning of an answered escalation, under its label: its id, and whether it was made now.

    There is one of an escalation: of several at once the first is kept, and all get its id. Raises NotFound, Conflict
    (wrong_state) where no person has resolved it, or the answer was not handed back.
    """
    escalation, task = lock(viewer, escalation_id)
    if not is_resolved(viewer, escalation):
        why = "Nobody has resolved this escalation: nothing is to be learnt yet."
        if escalation.state == RESOLVED:
            why = "The answer was not handed back yet, and agents read learnings: hand it back first."
        raise Conflict(Code.WRONG_STATE, why, state=escalation.state)
    return add(
        viewer,
        label_by_id(escalation.label_id),
        signal_type=signal_type,
        details=details,
        context=context or {},
        task_id=task.id,
        source=escalation.id,
    )


def is_resolved(viewer: Viewer, escalation: Escalation) -> bool:
    """Whether a person's answer was handed back, or they have done the work: before, no agent hears of it."""
    if escalation.state not in (HANDED_BACK, CLOSED):
        return False
    answers = Answer.objects.filter(escalation_id=escalation.id, round=escalation.round, withdrawn_at=None)
    return visible_to(viewer, answers).exists()
