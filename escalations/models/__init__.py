"""The desk's tables."""

from escalations.models.escalations import Answer, Escalation, Note, Priority, Queue, ReasonCode, Verdict

__all__ = ["Answer", "Escalation", "Note", "Priority", "Queue", "ReasonCode", "Verdict"]
