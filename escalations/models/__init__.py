"""The desk's tables, and the roll-up of the insights."""

from escalations.models.drafts import Draft
from escalations.models.escalations import Answer, Audience, Escalation, Note, Priority, Queue, ReasonCode, Verdict
from escalations.models.insights import InsightEntry, InsightState, InsightTally

__all__ = [
    "Answer",
    "Audience",
    "Draft",
    "Escalation",
    "InsightEntry",
    "InsightState",
    "InsightTally",
    "Note",
    "Priority",
    "Queue",
    "ReasonCode",
    "Verdict",
]
