"""Notes: anyone who sees an escalation may write one."""

from uuid import UUID

from escalations.actions.common import lock, refuse_more_notes, write_note
from escalations.models import Note
from memoryhub.core.access.permissions import AGENTS, READERS, action
from memoryhub.core.viewers import Viewer


@action("escalation.note", roles=READERS | AGENTS, scope="escalations")
def note(viewer: Viewer, *, escalation_id: UUID, text: str) -> Note:
    """Add a note under the escalation's label. Raises NotFound; RateLimited beyond the budget of agents' notes."""
    escalation, _ = lock(viewer, escalation_id)
    refuse_more_notes(viewer, escalation)
    return write_note(viewer, escalation, text)
