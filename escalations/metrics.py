"""What is counted of escalations, of all teams together (core.metrics)."""

from memoryhub.core.metrics import FromDatabase

FromDatabase(
    "memoryhub_escalations",
    "Escalations that wait for a person, or that one works on, by state.",
    "select state, many from open_escalations()",
    "state",
)
FromDatabase(
    "memoryhub_escalations_oldest_seconds",
    "Since the oldest of them was asked for, by state.",
    "select state, seconds from open_escalations()",
    "state",
)
