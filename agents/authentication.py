"""Authentication of agents, shared by all doors: a bearer key (RFC 6750) becomes a viewer."""

from typing import Any

from django.db import OperationalError, connection

from agents.keys import digest_of
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Unauthorized
from memoryhub.core.viewers import Viewer

# One round trip, prepared once per connection; not cached, so a revoked key is refused at the next request.
_FIND = """
select k.id, k.scopes, m.id, m.name, m.role, m.clearance, m.compartments, a.id, a.kind, t.id, t.slug, k.rate_limit,
       k.last_used_at is null or k.last_used_at < statement_timestamp() - interval '1 minute'
from api_key k join membership m on m.id = k.membership_id join actor a on a.id = m.actor_id
     join team t on t.id = m.team_id
where k.digest = %s and k.revoked_at is null and (k.expires_at is null or k.expires_at > statement_timestamp())
  and m.is_active and a.is_active
"""
_USED = """
with k as (update api_key set last_used_at = statement_timestamp() where id = %s returning membership_id)
update agent set last_seen_at = statement_timestamp() from k where agent.membership_id = k.membership_id
"""


def _find(digest: bytes) -> list[tuple[Any, ...]]:
    # A request's first statement detects a dead persistent connection as well as Django's health check does.
    connection.health_check_done = True  # type: ignore[attr-defined]  # missing in the stubs
    try:
        return run(_FIND, [digest])
    except OperationalError:
        connection.close()  # the server has closed it since
        return run(_FIND, [digest])


def is_good(digest: bytes) -> bool:
    """Whether the key of this digest is valid now."""
    return bool(_find(digest))


def authenticate(header: str | None, request_id: str) -> Viewer:
    """The viewer of an Authorization header. Raises Unauthorized, with one text whatever the key's fault."""
    scheme, _, key = (header or "").partition(" ")
    digest = digest_of(key) if scheme.lower() == "bearer" else None
    rows = _find(digest) if digest is not None else []
    if not rows:
        raise Unauthorized("A valid API key is needed.", headers={"WWW-Authenticate": 'Bearer realm="memoryhub"'})
    key_id, scopes, member, name, role, clearance, compartments, actor, kind, team, slug, limit, note_use = rows[0]
    if note_use:
        queue("select set_config('synchronous_commit', 'off', true)")  # in this trip: its durability does not matter
        run(_USED, [key_id])
    return Viewer(
        actor=actor,
        membership=member,
        team=team,
        team_slug=slug,
        name=name,
        kind=kind,
        role=role,
        clearance=clearance,
        compartments=frozenset(compartments),
        scopes=frozenset(scopes),
        credential=key_id,
        request_id=request_id,
        rate_limit=limit,
    )
