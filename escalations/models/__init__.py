"""The desk's tables."""

from escalations.models.drafts import Draft
from escalations.models.escalations import Answer, Escalation, Note, Priority, Queue, ReasonCode, Verdict

__all__ = ["Answer", "Draft", "Escalation", "Note", "Priority", "Queue", "ReasonCode", "Verdict"]
