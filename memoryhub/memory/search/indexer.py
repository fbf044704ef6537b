"""The index follows the ledger in the background: it reads what events made or changed, and writes its terms.

A batch is one transaction of rows, statistics and the cursor into the ledger. So they always agree, and a worker that
dies leaves nothing half done.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isqrt
from typing import Any
from uuid import UUID

from memoryhub.core.db.pipeline import Rows
from memoryhub.core.db.statements import flush, queue, run
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.search import sources
from memoryhub.memory.search.postings import MAX_DOCS, packed, without
from memoryhub.memory.search.sources import searched_types
from memoryhub.memory.search.terms import Doc, Source, read

EDITION = 2  # of what the index holds of a row; rows of an earlier one are indexed anew (search.upgrade)
BATCH, BATCH_BYTES = 2_000, 8 << 20  # rows per transaction, roughly, and their bytes
PART_BYTES = 1 << 20  # of the rows whose words are in memory at a time
MEASURED = 128  # events, or rows, measured at a time: that decompresses large rows
# Documents per cell, at least; a large shelf's cells have twice the root of its documents. A batch rewrites what its
# words have in the newest cell, and a search reads as many cells as there are.
CELL = 512

_LOCK = "select seq from search_state where team_id = %(team)s::int for update"
_MAKE_STATE = """
insert into search_state (team_id, seq, edition) values (%(team)s::int, 0, %(edition)s::int) on conflict do nothing
"""
_LAST = "select coalesce((select seq from event_seq where team_id = %(team)s::int order by seq desc limit 1), 0)"
# The event of a batch counts as the number of rows that it made.
_EVENTS = """
select seq, id, row_type, row_id, count from (
    select s.seq, e.id, e.row_type, e.row_id, c.count, row_number() over (order by s.seq) as place,
           sum(c.count) over (order by s.seq rows unbounded preceding) as rows
    from (select seq, event_id from event_seq where team_id = %(team)s::int and seq > %(after)s::bigint
            and seq <= %(last)s::bigint order by seq limit %(size)s::int) s
    join event e on e.id = s.event_id
    cross join lateral (select coalesce((e.data ->> 'count')::int, 1) as count) c
) e where rows <= %(size)s::int or place = 1 order by seq
"""


def behind() -> list[int]:
    """The teams whose ledger is ahead of their index."""
    return [team for (team,) in run("select search_behind()")]


def catch_up(team: int) -> None:
    """Follow the team's ledger to its end, waiting for a worker that follows it; for tests and commands."""
    while follow(team, wait=True):
        pass


def follow(team: int, *, wait: bool = False) -> bool:
    """Index the next events of the team's ledger; False when there are none, or (without `wait`) another worker does
    it.
    """
    viewer = system_viewer(team)
    with viewer_transaction(viewer):
        run(_MAKE_STATE, {"team": team, "edition": EDITION})
        locked = run(_LOCK if wait else f"{_LOCK} skip locked", {"team": team})
        if not locked:
            return False
        ((after,),) = locked
        ((last,),) = run(_LAST, {"team": team})
        if last <= after:
            return False
        # Rereads the labels, now that the last event is known: the label of each event up to it is listed (ADR 2).
        current().set_viewer_context()
        events = run(_EVENTS, {"team": team, "after": after, "last": last, "size": BATCH})
        due, reached = _due(events)
        for kind, rows in due.items():
            index(viewer, kind, rows)
        remove_expired(viewer)
        run(
            "update search_state set seq = %(seq)s where team_id = %(team)s::int",
            {"team": team, "seq": reached or last},
        )
    return True


def _due(events: Rows) -> tuple[dict[str, dict[UUID, int]], int | None]:
    """The rows of the first events by kind, with their bytes, up to the limit of a transaction; the last such `seq`."""
    due: dict[str, dict[UUID, int]] = {kind: {} for kind in searched_types()}
    total, reached = 0, None
    for at in range(0, len(events), MEASURED):
        some = events[at : at + MEASURED]
        by_event, by_row = _measured(some)
        for seq, event, row_type, row, count in some:
            for kind in _made_by(row_type):
                rows = dict(by_event[kind, event]) if count > 1 or kind != row_type else {}
                if row is not None and kind == row_type:
                    rows[row] = by_row.get(row, 0)
                total += sum(rows.values())
                if total > BATCH_BYTES and reached is not None:
                    return due, reached
                due[kind] |= rows
            reached = seq
    return due, reached


def _made_by(row_type: str) -> list[str]:
    """The searched kinds whose rows are made by events of this type of row."""
    return [kind for kind in searched_types() if KINDS[kind].events == row_type]


def _measured(events: Rows) -> tuple[dict[tuple[str, UUID], dict[UUID, int]], dict[UUID, int]]:
    """The bytes of the rows that these events made or named, by kind, event and row, and by row."""
    by_event: dict[tuple[str, UUID], dict[UUID, int]] = defaultdict(dict)
    by_row: dict[UUID, int] = {}
    for kind in searched_types():
        mine = [event for event in events if event[2] == KINDS[kind].events]
        is_own = KINDS[kind].events == kind
        # The event of a batch names only one of its rows, and that of another kind of row none.
        made = [event for _, event, _, _, count in mine if count > 1 or not is_own]
        named = {row for _, _, _, row, _ in mine if is_own and row is not None}
        for size in sources.changed(kind, made, sorted(named)) if made or named else ():
            by_event[kind, size.event][size.id] = by_row[size.id] = size.bytes
    return by_event, by_row


def index(viewer: Viewer, kind: str, rows: Mapping[UUID, int]) -> None:
    """Index these rows of a kind as they are now, in parts of at most PART_BYTES."""
    part: list[UUID] = []
    size = 0
    for row, more in rows.items():
        if part and size + more > PART_BYTES:
            _index(viewer, kind, part)
            part, size = [], 0
        part.append(row)
        size += more
    if part:
        _index(viewer, kind, part)


def _index(viewer: Viewer, kind: str, ids: Sequence[UUID]) -> None:
    found = sources.read(kind, ids)
    replace(viewer, found, gone=set(ids) - {source.id for source in found})


def replace(viewer: Viewer, found: Iterable[Source], gone: Iterable[UUID] = ()) -> None:
    """Index these rows as they are now; `gone`: those that no longer exist."""
    docs = read(viewer.team, found)
    remove(viewer, [*gone, *(doc.source.id for doc in docs)])
    by_shelf: dict[tuple[int, UUID | None], list[Doc]] = defaultdict(list)
    for doc in sorted(docs, key=lambda doc: doc.source.id):
        by_shelf[doc.source.label_id, doc.source.audience].append(doc)
    for (label, audience), members in by_shelf.items():
        ((shelf,),) = run(_SHELF, {"team": viewer.team, "label": label, "audience": audience})
        for cell, first, part in _cells(shelf, members):
            _insert(shelf, cell, first, part)


_SHELF = """
with known as (select id from search_shelf where team_id = %(team)s::int and label_id = %(label)s::int
                 and audience_id is not distinct from %(audience)s::uuid),
     made as (insert into search_shelf (team_id, label_id, audience_id)
              select %(team)s::int, %(label)s::int, %(audience)s::uuid where not exists (select from known)
              returning id)
select id from known union all select id from made
"""


_NEWEST = """
select (select array[id, filled] from search_cell where shelf_id = %(shelf)s::int order by id desc limit 1),
       (select coalesce(sum(docs), 0) from search_cell where shelf_id = %(shelf)s::int)
"""
_NEW_CELL = """
insert into search_cell (shelf_id, docs, filled, length, first_at, last_at)
values (%(shelf)s::int, 0, 0, 0, %(at)s::timestamptz, %(at)s::timestamptz) returning id
"""


def _cells(shelf: int, docs: list[Doc]) -> Iterator[tuple[int, int, list[Doc]]]:
    """Fill the shelf's newest cell, then new ones: each with the number of the first document."""
    ((newest, total),) = run(_NEWEST, {"shelf": shelf})
    cell, filled = newest or (None, 0)
    size = min(max(CELL, 2 * isqrt(int(total))), MAX_DOCS)
    while docs:
        if cell is None or filled >= size:
            ((cell,),) = run(_NEW_CELL, {"shelf": shelf, "at": docs[0].source.created_at})
            filled = 0
        part, docs = docs[: size - filled], docs[size - filled :]
        yield cell, filled, part
        filled += len(part)


_DOCS = """
insert into search_doc
  (row_id, part_of, task_id, type, shelf_id, cell_id, number, words, length, importance, created_at, expires_at)
select d.row_id, d.part_of, d.task_id, d.type, %(shelf)s::int, %(cell)s::int, %(first)s::int + d.place - 1,
       d.words::tsvector, d.length, d.importance, d.created_at, d.expires_at
from unnest(%(ids)s::uuid[], %(wholes)s::uuid[], %(tasks)s::uuid[], %(types)s::text[], %(words)s::text[],
            %(lengths)s::int[], %(importances)s::float8[], %(created)s::timestamptz[], %(expires)s::timestamptz[])
     with ordinality d (row_id, part_of, task_id, type, words, length, importance, created_at, expires_at, place)
"""
_COUNT_CELL = """
update search_cell set docs = docs + %(docs)s::int, filled = %(filled)s::int, length = length + %(length)s::bigint,
       first_at = least(first_at, %(first_at)s::timestamptz), last_at = greatest(last_at, %(last_at)s::timestamptz)
where id = %(cell)s::int
"""
_POSTINGS = """
insert into search_posting as p (shelf_id, term, cell_id, entries)
select %(shelf)s::int, u.term, %(cell)s::int, u.entries
from unnest(%(terms)s::text[], %(entries)s::bytea[]) u (term, entries)
on conflict (shelf_id, term, cell_id) do update set entries = p.entries || excluded.entries
"""
_FORMS = """
insert into search_form (shelf_id, form, term)
select %(shelf)s::int, f.form, f.term from unnest(%(forms)s::text[], %(terms)s::text[]) f (form, term)
on conflict do nothing
"""
# In teams whose rows become vectors (search.vector_indexer).
_DUE = """
insert into search_vector_due (row_id, team_id)
select d.row_id, s.team_id
from search_shelf h join search_vector_state s on s.team_id = h.team_id
cross join unnest(%(ids)s::uuid[], %(wholes)s::uuid[]) d (row_id, part_of)
where h.id = %(shelf)s::int and d.part_of is null
"""


def _insert(shelf: int, cell: int, first: int, docs: list[Doc]) -> None:
    place = {"shelf": shelf, "cell": cell}
    rows = [doc.source for doc in docs]
    columns: dict[str, list[Any]] = {
        "ids": [doc.id for doc in docs],
        "wholes": [doc.part_of for doc in docs],
        "tasks": [row.task_id if KINDS[row.type].on_timeline else None for row in rows],
        "types": [row.type for row in rows],
        "words": [doc.vector() for doc in docs],
        "lengths": [doc.length for doc in docs],
        "importances": [row.importance for row in rows],
        "created": [row.created_at for row in rows],
        "expires": [row.expires_at for row in rows],
    }
    queue(_DOCS, place | columns | {"first": first})
    times = {"first_at": min(columns["created"]), "last_at": max(columns["created"])}
    sums = {"docs": len(docs), "filled": first + len(docs), "length": sum(columns["lengths"])}
    queue(_COUNT_CELL, place | times | sums)
    entries: defaultdict[str, bytearray] = defaultdict(bytearray)
    for number, doc in enumerate(docs, start=first):
        for term, entry in packed(number, doc.length, {term: len(places) for term, places in doc.terms.items()}):
            entries[term] += entry
    # In one order, so that there is no deadlock.
    words = sorted(entries)
    queue(_POSTINGS, place | {"terms": words, "entries": [bytes(entries[word]) for word in words]})
    forms = {form: term for doc in docs for form, term in doc.forms.items()}
    if forms:
        queue(_FORMS, {"shelf": shelf, "forms": list(forms), "terms": list(forms.values())})
    if not (rows[0].is_sealed or rows[0].audience):  # the same for all rows of a shelf
        queue(_DUE, {"shelf": shelf, "ids": columns["ids"], "wholes": columns["wholes"]})
    flush()


_REMOVE = """
delete from search_doc where row_id = any (array(
    select row_id from search_doc where row_id = any (%(ids)s::uuid[])
    union all select row_id from search_doc where part_of = any (%(ids)s::uuid[])))
returning shelf_id, cell_id, number, length, tsvector_to_array(words)
"""
_UNCOUNT_CELL = """
update search_cell set docs = docs - %(docs)s::int, length = length - %(length)s::bigint where id = %(cell)s::int
"""
_HAVING = """
select term, entries from search_posting
where shelf_id = %(shelf)s::int and cell_id = %(cell)s::int and term = any (%(terms)s::text[])
"""
_LEFT = """
update search_posting p set entries = u.entries from unnest(%(terms)s::text[], %(entries)s::bytea[]) u (term, entries)
where p.shelf_id = %(shelf)s::int and p.cell_id = %(cell)s::int and p.term = u.term
"""
_FORGET = """
delete from search_posting
where shelf_id = %(shelf)s::int and cell_id = %(cell)s::int and term = any (%(terms)s::text[])
"""


def remove(viewer: Viewer, ids: Sequence[UUID]) -> None:
    """Remove rows from the index and from its statistics, without a trace."""
    gone: dict[tuple[int, int], list[tuple[int, int, list[str]]]] = defaultdict(list)
    for shelf, cell, number, length, words in run(_REMOVE, {"ids": list(ids)}) if ids else ():
        gone[shelf, cell].append((number, length, words))
    for (shelf, cell), docs in sorted(gone.items()):
        place = {"shelf": shelf, "cell": cell}
        numbers = [number for number, _, _ in docs]
        queue(_UNCOUNT_CELL, {"cell": cell, "docs": len(docs), "length": sum(length for _, length, _ in docs)})
        terms = sorted({word for _, _, words in docs for word in words})
        left = {term: without(entries, numbers) for term, entries in run(_HAVING, place | {"terms": terms})}
        kept = {term: entries for term, entries in left.items() if entries}
        queue(_LEFT, place | {"terms": list(kept), "entries": list(kept.values())})
        run(_FORGET, place | {"terms": [term for term in left if term not in kept]})


_EXPIRED = """
select row_id from search_doc where shelf_id in (select id from search_shelf where team_id = %(team)s::int)
  and expires_at <= statement_timestamp() limit %(size)s::int
"""


def remove_expired(viewer: Viewer) -> None:
    """Remove a batch of expired rows; until then no search shows them."""
    remove(viewer, [row for (row,) in run(_EXPIRED, {"team": viewer.team, "size": BATCH})])
