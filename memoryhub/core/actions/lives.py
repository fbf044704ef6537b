"""Lives: the ledgers begin anew where the database itself cannot tell that it was given another history (ADR 10)."""

from memoryhub.core.access.permissions import action
from memoryhub.core.actions.administration import record
from memoryhub.core.db.statements import run
from memoryhub.core.ledger.mark import is_behind, read_heads, read_mark, write_mark
from memoryhub.core.viewers import Viewer, system_viewer


class Behind(Exception):
    """The ledger lacks what the mark has: it was put back from a copy."""


@action("ledger.begin_life", roles=())
def begin(viewer: Viewer, *, at_least: int = 0) -> int:
    """Begin the next life of the team's ledger, this ordinal or a greater one; its ordinal. For the system only.

    Who has heard of nothing that is lost notices nothing.
    """
    ((life,),) = run("select begin_life(%s::int, %s::int)", [viewer.team, at_least])
    record(viewer, "ledger.begin_life", None, life=int(life))
    return int(life)


def begin_everywhere() -> int:
    """Begin a life of every team's ledger that neither the database nor the mark has known; the greatest ordinal."""
    mark, heads = read_mark(), read_heads()
    least = 1 + max([mark.life if mark else 0, *(head.ordinal for head in heads)])
    life = max((begin(system_viewer(head.team), at_least=least) for head in heads), default=0)
    write_mark(anew=True)
    return life


def follow_the_server() -> int | None:
    """Begin a new life where the ledgers came by a dump or the server is on another timeline; its ordinal, else None.

    Raises Behind for the same database with an older ledger: whether that is meant only a person can say.
    """
    if any(head.is_moved or head.life != head.ordinal for head in read_heads()):
        return begin_everywhere()
    if is_behind():
        raise Behind()
    write_mark()
    return None
