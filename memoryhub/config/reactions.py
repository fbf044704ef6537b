"""Event type -> what else is to be done about it, by dotted path of `handler(viewer, job)`. Read by core.ledger.

This is the one way for something to flow upward through the layers. A reaction is an outbox row in the
transaction of the event, so it is done if and only if the event happened, at least once delivered, once done.
"""

REACTIONS: dict[str, tuple[str, ...]] = {
    # A person who may no longer see or work on an escalation does not keep it claimed.
    "membership.change": ("escalations.timers.release_claims_of_member",),
    "person.change": ("escalations.timers.release_claims_of_person",),
}
