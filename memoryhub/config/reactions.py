"""The outbox's handlers, and the reactions to events. Read by core.outbox.jobs and core.ledger.events.

This is the one way for something to flow upward through the layers. A reaction is an outbox row in the event's
transaction, so it is done if and only if the event was committed: at least once delivered, once effective.
"""

# Name in an outbox row -> the path of its `handler(viewer, job)`. Closed: a row with another name is a failure, and no
# path from the database is ever imported.
HANDLERS: dict[str, str] = {
    "escalation.run_out": "escalations.timers.run_out",
    "escalation.close_unacknowledged": "escalations.timers.close_unacknowledged",
    "claims.release_of_member": "escalations.timers.release_claims_of_member",
    "claims.release_of_person": "escalations.timers.release_claims_of_person",
}

# Names in rows of older versions, which may still wait after an upgrade -> the current name.
OLD_HANDLERS: dict[str, str] = {
    "escalations.timers.run_out": "escalation.run_out",
    "escalations.timers.close_unacknowledged": "escalation.close_unacknowledged",
    "escalations.timers.release_claims_of_member": "claims.release_of_member",
    "escalations.timers.release_claims_of_person": "claims.release_of_person",
}

# Event type -> the handlers that react to it.
REACTIONS: dict[str, tuple[str, ...]] = {
    # A person who may no longer see or work on an escalation does not keep it claimed.
    "membership.change": ("claims.release_of_member",),
    "person.change": ("claims.release_of_person",),
}
