"""Rebuilds the index from the rows, team by team, while the memory is read and written."""

from collections.abc import Callable
from uuid import UUID

from memoryhub.core.db.statements import run
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import sources
from memoryhub.memory.search.indexer import BATCH, BATCH_BYTES, EDITION, MEASURED, catch_up, index
from memoryhub.memory.search.sources import searched_types

_FORGET = """
with shelf as materialized (select id from search_shelf where team_id = %(team)s::int),
     a as (delete from search_doc where shelf_id in (select id from shelf)),
     b as (delete from search_posting where shelf_id in (select id from shelf)),
     c as (delete from search_form where shelf_id in (select id from shelf))
delete from search_cell where shelf_id in (select id from shelf)
"""
_FOLLOW = """
insert into search_state (team_id, edition, seq)
select %(team)s::int, %(edition)s::int,
       coalesce((select seq from event_seq where team_id = %(team)s::int order by seq desc limit 1), 0)
on conflict (team_id) do update set seq = excluded.seq, edition = excluded.edition, kind = null, last_id = null
"""


def rebuild(team: int, say: Callable[[str, int], object] = lambda kind, rows: None) -> None:
    """Rebuild a team's index: delete it, read every row, then follow the ledger from where it was at the beginning.

    `say` is called with a type and how many of its rows are done. Meanwhile searches find what is indexed so far. If
    interrupted, run it again.
    """
    viewer = system_viewer(team)
    with viewer_transaction(viewer):
        run(_FOLLOW, {"team": team, "edition": EDITION})  # first, since it waits for a worker that follows the ledger
        run(_FORGET, {"team": team})
    for kind in searched_types():
        last, done = None, 0
        while True:
            with viewer_transaction(viewer):
                # Locks out workers that follow the ledger, which would count the same rows.
                run("select from search_state where team_id = %(team)s::int for update", {"team": team})
                current().set_viewer_context()
                rows = next_rows(kind, last, BATCH)
                index(viewer, kind, rows)
            if not rows:
                break
            last, done = max(rows), done + len(rows)
            say(kind, done)
    catch_up(team)


def next_rows(kind: str, last: UUID | None, size: int) -> dict[UUID, int]:
    """The next `size` rows of a kind after the id `last`, with their bytes, up to the limit of a transaction."""
    rows: dict[UUID, int] = {}
    total = 0
    while len(rows) < size:
        sizes = sources.after(kind, last, MEASURED)
        for row in sizes:
            total += row.bytes
            if rows and total > BATCH_BYTES:
                return rows
            rows[row.id] = row.bytes
            last = row.id
        if len(sizes) < MEASURED:
            break
    return rows
