"""manage.py rebuild_insights: rebuild the roll-up of the insights."""

from collections.abc import Callable

from escalations.reports.roll_up import rebuild
from memoryhub.core.management.rebuilding import RebuildCommand


class Command(RebuildCommand):
    help = "Rebuild the insights' roll-up from the ledger. Meanwhile the figures are right, and slower to come."

    def rebuild(self, team: int, say: Callable[[str], object]) -> None:
        rebuild(team, lambda events: say(f"{events} events"))
