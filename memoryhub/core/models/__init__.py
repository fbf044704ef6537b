"""The kernel's tables."""

from memoryhub.core.models.compartments import Compartment
from memoryhub.core.models.labels import Label, Labelled, once_by_client_ref, seq_of_row
from memoryhub.core.models.ledger import AccessLog, Event, EventSeq
from memoryhub.core.models.machinery import Idempotency, Outbox, TeamKey
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
    "Idempotency",
    "Label",
    "Labelled",
    "Membership",
    "Outbox",
    "PasswordOrigin",
    "Role",
    "Sensitivity",
    "SignInDelay",
    "SignInRecord",
    "Team",
    "TeamKey",
    "once_by_client_ref",
    "seq_of_row",
]
