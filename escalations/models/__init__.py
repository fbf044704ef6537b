"""The desk's tables."""

from escalations.models.drafts import Draft
from escalations.models.escalations import Answer, Audience, Escalation, Note, Priority, Queue, ReasonCode, Verdict

__all__ = ["Answer", "Audience", "Draft", "Escalation", "Note", "Priority", "Queue", "ReasonCode", "Verdict"]
