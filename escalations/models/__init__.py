"""The desk's tables, and the roll-up of the insights."""

from escalations.models.drafts import Draft
from escalations.models.escalations import Answer, Audience, Escalation, Note, Priority, Queue, ReasonCode, Verdict
from escalations.models.insights import InsightCell, InsightEntry, InsightState

__all__ = [
    "Answer",
    "Audience",
    "Draft",
    "Escalation",
    "InsightCell",
    "InsightEntry",
    "InsightState",
    "Note",
    "Priority",
    "Queue",
    "ReasonCode",
    "Verdict",
]
