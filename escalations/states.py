"""The life of an escalation, as data: which verb leads from where to where."""

from memoryhub.core.errors import Code, Conflict

QUEUED, CLAIMED, WAITING, RESOLVED = "queued", "claimed", "waiting", "resolved"
HANDED_BACK, CLOSED, CANCELLED, EXPIRED = "handed_back", "closed", "cancelled", "expired"

STATES = (QUEUED, CLAIMED, WAITING, RESOLVED, HANDED_BACK, CLOSED, CANCELLED, EXPIRED)
# At most one escalation of a task is in one of these; an answered one no longer stands in the way of a new one.
OPEN = (QUEUED, CLAIMED, WAITING, RESOLVED)
# In these somebody has it; how long their claim stands: escalations.standing.
HELD = (CLAIMED, WAITING, RESOLVED)
# From these on the agent has its answer.
ANSWERED = (HANDED_BACK, CLOSED, CANCELLED, EXPIRED)

# verb -> {state before: state after}
TRANSITIONS: dict[str, dict[str, str]] = {
    "claim": {QUEUED: CLAIMED},
    "release": {CLAIMED: QUEUED, WAITING: QUEUED, RESOLVED: QUEUED},
    # Its owner may no longer work on it, or the answer can no longer reach who asked.
    "withdraw": {CLAIMED: QUEUED, WAITING: QUEUED, RESOLVED: QUEUED},
    "run_out": {CLAIMED: QUEUED},
    "keep": {CLAIMED: CLAIMED},
    "decide": {CLAIMED: RESOLVED, WAITING: RESOLVED},
    "hand_back": {RESOLVED: HANDED_BACK},
    "finish": {CLAIMED: CLOSED},
    "acknowledge": {HANDED_BACK: CLOSED},
    "close_unacknowledged": {HANDED_BACK: CLOSED},
    "cancel": {QUEUED: CANCELLED, CLAIMED: CANCELLED, WAITING: CANCELLED, RESOLVED: CANCELLED},
}


def next_state(verb: str, state: str) -> str:
    """The state after the verb. Raises Conflict (wrong_state) with the present one when it does not lead on."""
    after = TRANSITIONS[verb].get(state)
    if after is None:
        raise Conflict(Code.WRONG_STATE, f"An escalation that is {state} cannot be changed by {verb}.", state=state)
    return after
