"""What the outbox can do, and what follows from which event. Read by core.outbox.jobs and core.ledger.events.

This is the one way for something to flow upward through the layers. A reaction is an outbox row in the
transaction of the event, so it is done if and only if the event happened, at least once delivered, once done.
"""

# Name, as it stands in a row of the outbox -> where its `handler(viewer, job)` is. Closed: a row names one of these, or
# it is a failure, and nothing that stands in the database is ever imported.
HANDLERS: dict[str, str] = {
    "escalation.run_out": "escalations.timers.run_out",
    "escalation.close_unacknowledged": "escalations.timers.close_unacknowledged",
    "claims.release_of_member": "escalations.timers.release_claims_of_member",
    "claims.release_of_person": "escalations.timers.release_claims_of_person",
}

# What older versions wrote into their rows, which may still wait after an upgrade -> the name of today.
OLD_HANDLERS: dict[str, str] = {
    "escalations.timers.run_out": "escalation.run_out",
    "escalations.timers.close_unacknowledged": "escalation.close_unacknowledged",
    "escalations.timers.release_claims_of_member": "claims.release_of_member",
    "escalations.timers.release_claims_of_person": "claims.release_of_person",
}

# Event type -> the handlers that do what else is to be done about it.
REACTIONS: dict[str, tuple[str, ...]] = {
    # A person who may no longer see or work on an escalation does not keep it claimed.
    "membership.change": ("claims.release_of_member",),
    "person.change": ("claims.release_of_person",),
}
