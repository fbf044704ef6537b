"""Notes: anyone who sees an escalation may write one."""

from uuid import UUID

from escalations.actions.common import lock, refuse_more_notes, write_note
from escalations.models import Audience, Note
from escalations.permissions import VERBS, require
from memoryhub.core.access.permissions import AGENTS, action
from memoryhub.core.viewers import Viewer


@action("escalation.note", roles=AGENTS | VERBS["note"].roles, scope="escalations")
def note(viewer: Viewer, *, escalation_id: UUID, text: str, audience: Audience = Audience.EVERYONE) -> Note:
    """Add a note under the escalation's label. Raises NotFound; RateLimited beyond the agents' budget of notes."""
    escalation, _ = lock(viewer, escalation_id)
    require(viewer, escalation, "note")
    refuse_more_notes(viewer, escalation)
    return write_note(viewer, escalation, text, audience=Audience.EVERYONE if viewer.is_agent else audience)
