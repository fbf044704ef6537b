"""Embeds rows in the background, the newest first: those that are neither sealed nor private.

A team is followed from when an endpoint is first configured: from then on the indexer marks each row that it writes as
due. A worker claims a batch, reads it, ends its transaction, calls the endpoint, and writes the vectors whose claim it
still has. So a row that changes meanwhile, and is due again, never gets the vector of its old text.
"""

from collections.abc import Sequence
from enum import Enum
from uuid import UUID

import structlog
from django.conf import settings

from memoryhub.core.db.pipeline import Rows
from memoryhub.core.db.statements import queue, run
from memoryhub.core.ids import new_id
from memoryhub.core.models import Sensitivity
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import embeddings, sources
from memoryhub.memory.search.indexer import EDITION
from memoryhub.memory.search.sources import searched_types

log = structlog.get_logger(__name__)

BATCH = 64  # texts per request; half as many for each failure in a row
CLAIM_SECONDS = 120  # after which a claim expires: its worker has died
MAX_REST_SECONDS = 300  # the longest backoff of a team whose requests fail

_made = False


class BatchOutcome(Enum):
    """What became of a batch. NOTHING: there was none to send now."""

    SENT = "sent"
    FAILED = "failed"
    NOTHING = "nothing"


def are_made() -> bool:
    """Whether the tables of vectors exist, for which the server needs pgvector."""
    global _made
    if not _made:
        ((_made,),) = run("select to_regclass('search_vector') is not null")
    return _made


def behind() -> list[int]:
    """The teams that have something to send."""
    return [team for (team,) in run("select search_vectors_behind(%s)", [settings.EMBEDDINGS_MODEL])]


_STATE = "select failures from search_vector_state where team_id = %(team)s::int and model = %(model)s::text"
_LOCK = """
insert into search_state (team_id, seq, edition) values (%(team)s::int, 0, %(edition)s::int)
on conflict (team_id) do update set seq = search_state.seq
"""
_FOLLOW = """
insert into search_vector_state (team_id, model) values (%(team)s::int, %(model)s::text)
on conflict (team_id) do update set model = excluded.model, failures = 0, resume_at = '-infinity'
"""
# What may be sent at all.
_OPEN = f"""
select s.id from search_shelf s join label l on l.id = s.label_id
where s.team_id = %(team)s::int and s.audience_id is null and l.sensitivity < {Sensitivity.CONFIDENTIAL.value}
"""
_ALL_DUE = f"""
insert into search_vector_due (row_id, team_id)
select d.row_id, %(team)s::int from search_doc d left join search_vector v on v.row_id = d.row_id
where d.shelf_id in ({_OPEN}) and d.part_of is null and v.model is distinct from %(model)s::text
on conflict do nothing
"""


def follow(team: int) -> int:
    """Make a team's rows without a vector due, when it is first followed; returns the failures of its requests in a
    row.

    Call it in a transaction of the team's system viewer.
    """
    params = {"team": team, "model": settings.EMBEDDINGS_MODEL}
    known = run(_STATE, params)
    if known:
        return int(known[0][0])
    queue(_LOCK, {"team": team, "edition": EDITION})  # locks out the indexer, whose rows would be missed
    current().set_viewer_context()
    queue(_FOLLOW, params)
    run(_ALL_DUE, params)
    return 0


# Those that were refused before are sent alone, so that they hold up no others.
_CLAIM = """
with next as (
    select d.row_id from search_vector_due d
    where d.team_id = %(team)s::int and d.after <= statement_timestamp() and (d.tries > 0) = %(again)s::bool
    order by d.row_id desc limit %(size)s::int for update skip locked)
update search_vector_due d set claim = %(claim)s::uuid,
    after = statement_timestamp() + make_interval(secs => %(seconds)s::int)
from next n where d.row_id = n.row_id returning d.row_id
"""
_CLAIMED = f"""
select d.type, d.row_id from search_doc d
where d.row_id = any (%(ids)s::uuid[]) and d.shelf_id in ({_OPEN})
  and (d.expires_at is null or d.expires_at > statement_timestamp())
"""
_DROP = """
delete from search_vector_due where claim = %(claim)s::uuid and not row_id = any (%(ids)s::uuid[])
"""


def _claim(team: int, claim: UUID, size: int) -> dict[UUID, str]:
    """Claim a batch; the texts by row. What may not be sent, or has no text, is no longer due."""
    params = {"team": team, "claim": claim, "seconds": CLAIM_SECONDS}
    ids = run(_CLAIM, params | {"size": size, "again": False})
    ids = ids or run(_CLAIM, params | {"size": 1, "again": True})
    claimed = run(_CLAIMED, {"team": team, "ids": [row for (row,) in ids]}) if ids else []
    texts: dict[UUID, str] = {}
    for kind in searched_types():
        wanted = [row for row_type, row in claimed if row_type == kind]
        for source in sources.read(kind, wanted) if wanted else ():
            # The row as it is now, which the index may not know yet.
            if not source.is_sealed and source.audience is None and source.text.strip():
                texts[source.id] = source.text
    if ids:
        run(_DROP, {"claim": claim, "ids": list(texts)})
    return texts


# The rows first, as the indexer does: there is no deadlock.
_HOLD = "select from search_doc where row_id = any (%(ids)s::uuid[]) order by row_id for key share"
_KEEP = """
with mine as (delete from search_vector_due where claim = %(claim)s::uuid returning row_id)
insert into search_vector (row_id, shelf_id, cell_id, model, vector)
select d.row_id, d.shelf_id, d.cell_id, %(model)s::text, u.vector::vector
from mine join search_doc d on d.row_id = mine.row_id
join unnest(%(ids)s::uuid[], %(vectors)s::text[]) u (row_id, vector) on u.row_id = mine.row_id
on conflict (row_id) do update set model = excluded.model, vector = excluded.vector
"""
_WELL = "update search_vector_state set failures = 0 where team_id = %(team)s::int and failures > 0"
_ILL = """
update search_vector_state set failures = failures + 1,
    resume_at = statement_timestamp() + make_interval(secs =>
        least(greatest(2 ^ least(failures + 1, 10), %(wait)s::int), %(most)s::int))
where team_id = %(team)s::int
"""
_LATER = "update search_vector_due set claim = null, after = '-infinity' where claim = %(claim)s::uuid"
# A text that was refused with others is retried alone, at once; one that was refused alone, with exponential backoff.
_REFUSED = """
update search_vector_due set claim = null, tries = tries + 1,
    after = case when %(alone)s::bool then statement_timestamp() + make_interval(mins => (2 ^ least(tries, 10))::int)
                 else '-infinity' end
where claim = %(claim)s::uuid
"""


def embed(team: int) -> BatchOutcome:
    """Claim a batch of a team's rows, request their vectors, and store them."""
    viewer, claim = system_viewer(team), new_id()
    with viewer_transaction(viewer):
        failures = follow(team)
        texts = _claim(team, claim, max(BATCH >> failures, 1))
    if not texts:
        return BatchOutcome.NOTHING
    try:
        vectors = embeddings.embed(list(texts.values()), seconds=embeddings.BATCH_SECONDS)
    except (embeddings.Away, embeddings.TextsRefused) as error:
        log.warning("embeddings_failed", team=team, texts=len(texts), reason=str(error))
        with viewer_transaction(viewer):
            _put_back(team, claim, error, alone=len(texts) == 1)
        return BatchOutcome.FAILED
    with viewer_transaction(viewer):
        _keep(team, claim, list(texts), vectors)
    return BatchOutcome.SENT


def _keep(team: int, claim: UUID, ids: Sequence[UUID], vectors: Sequence[str]) -> None:
    queue(_HOLD, {"ids": sorted(ids)})
    queue(_KEEP, {"claim": claim, "model": settings.EMBEDDINGS_MODEL, "ids": list(ids), "vectors": list(vectors)})
    run(_WELL, {"team": team})


def _put_back(team: int, claim: UUID, error: Exception, *, alone: bool) -> None:
    if isinstance(error, embeddings.TextsRefused):
        queue(_REFUSED, {"claim": claim, "alone": alone})
    else:
        queue(_LATER, {"claim": claim})
    wait = error.retry_after if isinstance(error, embeddings.Away) else 0
    run(_ILL, {"team": team, "wait": wait, "most": MAX_REST_SECONDS})


_TAKE = "select row_id, model, vector::text from search_vector where row_id = any (%(ids)s::uuid[])"
_PUT_BACK = """
with known as (
    insert into search_vector (row_id, shelf_id, cell_id, model, vector)
    select d.row_id, d.shelf_id, d.cell_id, u.model, u.vector::vector
    from unnest(%(ids)s::uuid[], %(models)s::text[], %(vectors)s::text[]) u (row_id, model, vector)
    join search_doc d on d.row_id = u.row_id
    returning row_id)
delete from search_vector_due d using known k where d.row_id = k.row_id
"""


def take(ids: Sequence[UUID]) -> Rows:
    """The vectors of these rows, which are about to be indexed anew from the same text."""
    return run(_TAKE, {"ids": list(ids)}) if are_made() else []


def put_back(taken: Rows) -> None:
    """Store these vectors again, at the places where the rows are now."""
    if taken:
        ids, models, vectors = (list(column) for column in zip(*taken, strict=True))
        run(_PUT_BACK, {"ids": ids, "models": models, "vectors": vectors})


_FORGET = f"""
delete from search_vector where shelf_id in ({_OPEN}) and model <> %(model)s::text
"""
_AT_ONCE = """
update search_vector_due set after = '-infinity', tries = 0 where team_id = %(team)s::int and claim is null
"""


def begin(team: int) -> int:
    """Delete a team's vectors of other models, and make rows without one due at once; returns how many."""
    with viewer_transaction(system_viewer(team)):
        params = {"team": team, "model": settings.EMBEDDINGS_MODEL}
        queue(_FORGET, params)
        follow(team)
        run(_AT_ONCE, {"team": team})
        return sum(_left(team))


def left(team: int) -> tuple[int, int]:
    """How many of a team's rows are due, and how many more are due after a refusal."""
    with viewer_transaction(system_viewer(team)):
        return _left(team)


def _left(team: int) -> tuple[int, int]:
    counted = """
        select count(*) filter (where tries = 0), count(*) filter (where tries > 0)
        from search_vector_due where team_id = %(team)s::int"""
    ((due, refused),) = run(counted, {"team": team})
    return due, refused
