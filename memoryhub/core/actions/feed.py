"""The feed's floor: what is too old to be resumed from. The ledger itself, which is the audit, keeps every event."""

from memoryhub.core.access.permissions import action
from memoryhub.core.actions.administration import record
from memoryhub.core.db.statements import run
from memoryhub.core.ledger import events
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer

_DAYS = "select feed_days from team where id = %s::int"
_IS_OLD = """
select coalesce((select e.at < statement_timestamp() - make_interval(days => %(days)s::int)
                 from event_seq s join event e on e.id = s.event_id
                 where s.team_id = %(team)s::int and s.seq = %(seq)s::bigint), false)
"""


@action("feed.prune", roles=())
def prune(viewer: Viewer) -> int:
    """Raise the floor of the team's feed to its last event older than `feed_days`; the floor. For the system only.

    A cursor below it is told to start afresh (410 `resync`). Safe to repeat, and beside itself: a floor never sinks.
    """
    floor = find_floor(viewer)
    if Team.objects.filter(id=viewer.team, feed_floor__lt=floor).update(feed_floor=floor):
        record(viewer, "feed.prune", None, floor=floor)
    return floor


def find_floor(viewer: Viewer) -> int:
    """The floor that pruning would raise the team's feed to now, never below the present one; by the system's viewer.

    `seq` follows the order of commits and `at` the clock, which differ by a transaction's length; so halving finds the
    place in some twenty reads, to within as much, whatever the ledger's size and however many lives it has had.
    """
    with viewer_transaction(viewer, read_only=True):
        ((days,),) = run(_DAYS, [viewer.team])
        found = events.read_ledger(viewer)
        low, high = found.position(found.floor), found.position(found.head)
        while low < high:
            middle = (low + high + 1) // 2
            ((is_old,),) = run(_IS_OLD, {"team": viewer.team, "days": days, "seq": found.at(middle)})
            low, high = (middle, high) if is_old else (low, middle - 1)
        return max(found.floor, found.at(low))
