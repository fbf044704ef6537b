"""The kernel's tables."""

from memoryhub.core.models.labels import Label, Labelled, LabelSet, seq_of_row
from memoryhub.core.models.ledger import AccessLog, Event, EventSeq
from memoryhub.core.models.machinery import Idempotency, Outbox, TeamKey
from memoryhub.core.models.people import SYSTEM_TEAM, Actor, Kind, Membership, Role, Sensitivity, Team

__all__ = [
    "SYSTEM_TEAM",
    "AccessLog",
    "Actor",
    "Event",
    "EventSeq",
    "Idempotency",
    "Kind",
    "Label",
    "LabelSet",
    "Labelled",
    "Membership",
    "Outbox",
    "Role",
    "Sensitivity",
    "Team",
    "TeamKey",
    "seq_of_row",
]
