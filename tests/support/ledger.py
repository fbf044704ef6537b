"""A team's ledger as tests read it: by the system's viewer, in commit order. `team` is the team's id."""

from memoryhub.core.models import Event, EventSeq
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer


def head(team: int) -> int:
    """The `seq` of the team's newest event."""
    with viewer_transaction(system_viewer(team), read_only=True):
        return EventSeq.objects.filter(team_id=team).count()


def events_of(team: int, type: str = "") -> list[Event]:
    """The team's events; `type`: those of this type, or, when it ends with a dot, of all types that begin so."""
    with viewer_transaction(system_viewer(team), read_only=True):
        found = Event.objects.filter(team_id=team).select_related("actor").order_by("clock__seq")
        if type:
            found = found.filter(type__startswith=type) if type.endswith(".") else found.filter(type=type)
        return list(found)
