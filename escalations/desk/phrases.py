"""What happened, in the words of the desk: events, verdicts, reasons."""

from escalations.desk.entries import Item
from escalations.permissions import OFFERS, VERBS
from memoryhub.memory.kinds import KINDS

_REASONS = {"approval_required": "approval"}
# What happened, in the words of the desk, by the type of its event.
EVENTS = {f"escalation.{verb.name}": verb.phrase for verb in VERBS.values()} | {
    "escalation.escalate": "escalated",
    "escalation.run_out": "found the claim expired: back in the queue",
    "escalation.withdraw": "found that its owner can no longer answer: back in the queue, nothing was sent",
    "escalation.acknowledge": "took the answer and continued",
    "escalation.close_unacknowledged": "closed it: the agent never took the answer",
    "task.create": "created the task",
    "task.claim": "claimed the task",
    "task.renew": "renewed the lease",
    "task.release": "released the task",
    "task.run_out": "ended the lease: its time had run out",
    "task.complete": "completed the task",
    "task.fail": "ended the task as failed",
    "task.reopen": "reopened the task",
    "task.update": "changed the task",
    "decision.revoke": "revoked",
    "decision.outcome": "reported the outcome of",
}


def reason(code: str) -> str:
    """A reason code, in words."""
    return _REASONS.get(code, code.replace("_", " "))


def phrase(event_type: str | None) -> str:
    """What an event says happened."""
    name = event_type or ""
    if name in KINDS and KINDS[name].phrase:
        return KINDS[name].phrase
    return EVENTS.get(name, name.replace(".", " ").replace("_", " "))


def verdict(name: str | None) -> str:
    """What a person answered, in words."""
    return OFFERS[name].past if name in OFFERS else name or ""


def happened(item: Item) -> str:
    """What an item of the timeline says happened."""
    return verdict((item.data or {}).get("verdict")) if item.what == "escalation.decide" else phrase(item.what)
