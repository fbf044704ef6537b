"""The kernel's tables."""

from memoryhub.core.models.compartments import Compartment
from memoryhub.core.models.labels import Label, Labelled, LabelSet, seq_of_row
from memoryhub.core.models.ledger import AccessLog, Event, EventSeq, LedgerLife
from memoryhub.core.models.machinery import Heartbeat, Idempotency, Outbox, TeamKey
from memoryhub.core.models.people import (
    SYSTEM_TEAM,
    Actor,
    ActorKind,
    DecisionsChangedBy,
    Membership,
    PasswordOrigin,
    Role,
    Sensitivity,
    Team,
)
from memoryhub.core.models.signins import SignInDelay, SignInRecord

__all__ = [
    "SYSTEM_TEAM",
    "AccessLog",
    "Actor",
    "ActorKind",
    "Compartment",
    "DecisionsChangedBy",
    "Event",
    "EventSeq",
    "Heartbeat",
    "Idempotency",
    "Label",
    "LabelSet",
    "Labelled",
    "LedgerLife",
    "Membership",
    "Outbox",
    "PasswordOrigin",
    "Role",
    "Sensitivity",
    "SignInDelay",
    "SignInRecord",
    "Team",
    "TeamKey",
    "seq_of_row",
]
