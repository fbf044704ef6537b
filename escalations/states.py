"""The life of an escalation, as data: which verb leads from which state to which."""

from memoryhub.core.errors import Code, Conflict

QUEUED, CLAIMED, WAITING, RESOLVED = "queued", "claimed", "waiting", "resolved"
HANDED_BACK, CLOSED, CANCELLED, EXPIRED = "handed_back", "closed", "cancelled", "expired"

STATES = (QUEUED, CLAIMED, WAITING, RESOLVED, HANDED_BACK, CLOSED, CANCELLED, EXPIRED)
# In these somebody works on it.
IN_PROGRESS = (CLAIMED, WAITING)
# In these it has an owner; how long their claim holds: escalations.standing.
HELD = (*IN_PROGRESS, RESOLVED)
# A task has at most one escalation in these; an answered one does not stand in the way of a new one.
OPEN = (QUEUED, *HELD)
# From these on the agent has its answer.
ANSWERED = (HANDED_BACK, CLOSED, CANCELLED, EXPIRED)

# verb -> {state before: state after}
TRANSITIONS: dict[str, dict[str, str]] = {
    "claim": {QUEUED: CLAIMED},
    "release": dict.fromkeys(HELD, QUEUED),
    # Its owner may no longer work on it, or the answer can no longer reach its agent.
    "withdraw": dict.fromkeys(HELD, QUEUED),
    "run_out": {CLAIMED: QUEUED},
    "keep": {CLAIMED: CLAIMED},
    "note": {state: state for state in STATES},
    "decide": dict.fromkeys(IN_PROGRESS, RESOLVED),
    "hand_back": {RESOLVED: HANDED_BACK},
    "finish": {CLAIMED: CLOSED},
    "acknowledge": {HANDED_BACK: CLOSED},
    "close_unacknowledged": {HANDED_BACK: CLOSED},
    "cancel": dict.fromkeys(OPEN, CANCELLED),
    "learn": {HANDED_BACK: HANDED_BACK, CLOSED: CLOSED},
}


def next_state(verb: str, state: str) -> str:
    """The state after the verb. Raises Conflict (wrong_state), with the present one, where the verb does not apply."""
    after = TRANSITIONS[verb].get(state)
    if after is None:
        present, wanted = state.replace("_", " "), verb.replace("_", " ")
        raise Conflict(Code.WRONG_STATE, f"The escalation is {present}: {wanted} is not possible.", state=state)
    return after
