"""After an upgrade: rows that an earlier edition indexed are indexed anew in the background, while the index serves.

Each batch replaces its rows in one transaction, so every row is found at any time, before as the earlier edition has
it. Vectors are kept: the texts are the same.
"""

from memoryhub.core.db.statements import run
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import vector_indexer
from memoryhub.memory.search.indexer import EDITION, index
from memoryhub.memory.search.rebuild import next_rows
from memoryhub.memory.search.sources import searched_types

BATCH = 512  # rows per transaction, roughly: meanwhile new rows of the team wait to be indexed

_LOCK = """
select kind, last_id from search_state where team_id = %(team)s::int and edition < %(edition)s::int
for update skip locked
"""
_ADVANCE = "update search_state set kind = %(kind)s::text, last_id = %(last)s::uuid where team_id = %(team)s::int"
_FINISH = """
update search_state set edition = %(edition)s::int, kind = null, last_id = null where team_id = %(team)s::int
"""


def outdated() -> list[int]:
    """The teams whose index has rows of an earlier edition."""
    return [team for (team,) in run("select search_outdated(%s)", [EDITION])]


def upgrade(team: int) -> bool:
    """Index the next rows of a team anew; False when there are none, or another worker has the index."""
    viewer = system_viewer(team)
    with viewer_transaction(viewer):
        locked = run(_LOCK, {"team": team, "edition": EDITION})
        if not locked:
            return False
        current().set_viewer_context()
        ((kind, last),) = locked
        kinds = searched_types()
        kind = kind if kind in kinds else kinds[0]
        rows = next_rows(kind, last, BATCH)
        if rows:
            vectors = vector_indexer.take(list(rows))
            index(viewer, kind, rows)
            vector_indexer.put_back(vectors)
            run(_ADVANCE, {"team": team, "kind": kind, "last": max(rows)})
        elif kind != kinds[-1]:
            run(_ADVANCE, {"team": team, "kind": kinds[kinds.index(kind) + 1], "last": None})
        else:
            run(_FINISH, {"team": team, "edition": EDITION})
    return True
