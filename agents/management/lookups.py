"""Look-ups of what a command's arguments name, in one team."""

from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import QuerySet

from agents.keys import PREFIX_LENGTH, digest_of
from agents.models import ApiKey
from memoryhub.core.models import Membership, Role
from memoryhub.core.viewers import Viewer


def agent_named(viewer: Viewer, name: str) -> Membership:
    """The membership of the team's agent of this name. Raises CommandError."""
    agents = Membership.objects.filter(team_id=viewer.team, role=Role.AGENT)
    found = agents.select_related("actor").filter(name=name).first()
    if found is None:
        names = ", ".join(agents.order_by("name").values_list("name", flat=True)[:20]) or "none yet"
        raise CommandError(
            f"There is no agent {name!r} in the team {viewer.team_slug}. Agents: {names}. "
            f"To add it: manage.py add_agent {name} --team {viewer.team_slug}"
        )
    return found


def key_named(viewer: Viewer, text: str) -> ApiKey:
    """The team's key with this id or prefix, or the key itself. Raises CommandError for none and for several."""
    found = list(_keys(text).filter(membership__team_id=viewer.team).select_related("membership")[:2])
    if len(found) != 1:
        many = "Several keys have this prefix; give the id" if found else "There is no such key"
        raise CommandError(f"{many} in the team {viewer.team_slug}.")
    return found[0]


def _keys(text: str) -> QuerySet[ApiKey]:
    digest = digest_of(text)
    if digest is not None:
        return ApiKey.objects.filter(digest=digest)
    try:
        return ApiKey.objects.filter(id=UUID(text))
    except ValueError:
        if len(text.rstrip("…")) != PREFIX_LENGTH:
            raise CommandError(f"Give a key's id, or its first {PREFIX_LENGTH} characters.") from None
        return ApiKey.objects.filter(prefix=text.rstrip("…"))
