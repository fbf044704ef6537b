"""API keys: issue, rotate, revoke."""

from collections.abc import Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Least, Now

from agents.keys import make_key
from agents.models import MAX_RATE_LIMIT, ApiKey, Scope
from memoryhub.core.access.delegation import begin
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions.administration import record
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Forbidden, Invalid
from memoryhub.core.ids import new_id
from memoryhub.core.models import Membership, Role
from memoryhub.core.viewers import Viewer

OVERLAP = timedelta(hours=24)
MOST_OVERLAP = timedelta(days=30)

_GOOD = """
select id, scopes from api_key where id = any (%s::uuid[]) and revoked_at is null
  and (expires_at is null or expires_at > statement_timestamp())
"""


@action("key.issue", roles=ADMINS)
def issue(
    viewer: Viewer,
    *,
    member: Membership,
    scopes: Iterable[str],
    name: str = "",
    expires_at: datetime | None = None,
    rate_limit: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key for an agent of the viewer's team: the row, and the key itself, which is kept nowhere: show it once.

    An agent may have several, so that a key can be rotated with overlap. `name`: at most 100 characters.
    `rate_limit`: requests per minute, 1 to 6,000,000; None: as many as the installation allows.
    Raises Invalid for a member who is not an active agent of the team, for unknown or no scopes, for an expiry that is
    over, and for a limit out of its bounds; Forbidden for an agent that may see what the viewer may not.
    """
    granter = begin(viewer)
    wanted = set(scopes)
    if member.team_id != viewer.team or member.role != Role.AGENT or not member.is_active:
        raise Invalid("Keys are for active agents of this team.")
    _require_key_for(granter, member)
    if not wanted or not wanted.issubset(Scope.values):
        raise Invalid(f"A key needs one or more of the scopes {', '.join(Scope.values)}.")
    if len(name) > 100:
        raise Invalid("A key's name has at most 100 characters.")
    if rate_limit is not None and not 1 <= rate_limit <= MAX_RATE_LIMIT:
        raise Invalid(f"A key may make 1 to {MAX_RATE_LIMIT} requests per minute.")
    key, digest, prefix = make_key()
    row = ApiKey.objects.create(
        membership=member,
        name=name,
        prefix=prefix,
        digest=digest,
        scopes=sorted(wanted),
        expires_at=expires_at,
        rate_limit=rate_limit,
    )
    # By the database's clock, which is also the one that ends it.
    if ApiKey.objects.filter(id=row.id, expires_at__lte=Now()).exists():
        raise Invalid("The key would have expired already.")
    _record(viewer, "key.issue", row)
    return row, key


@action("key.rotate", roles=ADMINS)
def rotate(viewer: Viewer, *, key: ApiKey, overlap: timedelta = OVERLAP) -> tuple[ApiKey, str]:
    """A new key in a key's place: the row, and the key itself, which is kept nowhere: show it once.

    It has the same agent, name, scopes and end. The old one works on for `overlap` (0 to 30 days, by the database's
    clock), but no longer than it would have. Raises Invalid for a key of another team, for one that has ended or was
    replaced already, and for an agent that is not active; Forbidden for an agent that may see what the viewer may not.
    """
    granter = begin(viewer)
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        raise Invalid(f"The old key may work on for at most {MOST_OVERLAP.days} days.")
    key = _lock(viewer, key)
    _require_key_for(granter, key.membership)
    if key.replaced_by is not None:
        raise Invalid(f"This key was rotated already; rotate the one in its place, {key.replaced_by}")
    has_expired = ApiKey.objects.filter(id=key.id, expires_at__lte=Now()).exists()
    if key.revoked_at is not None or has_expired or not key.membership.is_active:
        raise Invalid("This key has ended; issue a new one.")
    fresh, row = make_key(), copy(key)
    row.id, row.created_at, row.last_used_at = new_id(), Now(), None
    secret, row.digest, row.prefix = fresh
    row.save(force_insert=True)
    ApiKey.objects.filter(id=key.id).update(replaced_by=row, expires_at=Least("expires_at", Now() + overlap))
    _record(viewer, "key.rotate", key, replaced_by=str(row.id), before={"expires_at": _iso(key.expires_at)})
    row.refresh_from_db()
    return row, secret


@action("key.revoke", roles=ADMINS)
def revoke(viewer: Viewer, *, key: ApiKey) -> ApiKey:
    """Make a key useless from the next request on; its sockets and long polls end within 2 s. Safe to repeat.

    Raises Invalid for a key of another team.
    """
    key = _lock(viewer, key)
    if key.revoked_at is None:
        key.revoked_at = Now()
        key.save(update_fields=["revoked_at"])
        key.refresh_from_db(fields=["revoked_at"])
        _record(viewer, "key.revoke", key, revoked=True, before={"revoked": False})
    return key


def read_scopes(keys: list[UUID]) -> dict[UUID, frozenset[str]]:
    """The scopes of those of these keys, by id, that open anything now. One query: connections ask each second."""
    return {key: frozenset(scopes) for key, scopes in run(_GOOD, [keys])}


def _require_key_for(granter: Viewer, member: Membership) -> None:
    # As the agent is now, and until the transaction ends: begin() holds the team's rights.
    now = Membership.objects.get(id=member.id)
    if not granter.dominates(now.clearance, now.compartments):
        raise Forbidden("This agent may see what you may not: you cannot have a key of it.")


def _lock(viewer: Viewer, key: ApiKey) -> ApiKey:
    locked = ApiKey.objects.select_for_update(of=("self",)).select_related("membership").get(id=key.id)
    if locked.membership.team_id != viewer.team:
        raise Invalid("This key is not of this team.")
    return locked


def _record(viewer: Viewer, verb: str, key: ApiKey, **data: Any) -> None:
    expires_at = ApiKey.objects.values_list("expires_at", flat=True).get(id=key.id)
    record(
        viewer,
        verb,
        key.id,
        agent=str(key.membership_id),
        name=key.membership.name,
        scopes=list(key.scopes),
        rate_limit=key.rate_limit,
        expires_at=_iso(expires_at),
        **data,
    )


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
