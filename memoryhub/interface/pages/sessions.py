"""A signed-in person's viewer: one active team per session."""

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from memoryhub.core.models import SYSTEM_TEAM, Actor, ActorKind, Membership
from memoryhub.core.viewers import Viewer, viewer_of

TEAM_KEY = "team"  # session[TEAM_KEY]: the id of the active team


def memberships_of(actor: Actor | AnonymousUser) -> list[Membership]:
    """A person's active memberships with team and actor, by team name, the installation's own team last. One query."""
    if not isinstance(actor, Actor) or actor.kind != ActorKind.HUMAN or not actor.is_active:
        return []
    members = Membership.objects.select_related("team", "actor").filter(
        actor_id=actor.id, is_active=True, actor__is_active=True
    )
    return sorted(members, key=lambda member: (member.team.slug == SYSTEM_TEAM, member.team.name, member.team_id))


def session_viewer(request: HttpRequest, members: list[Membership]) -> Viewer | None:
    """The viewer of the session's active team, else of the person's first, which becomes active; None without any.

    `members`: the result of memberships_of().
    """
    wanted = request.session.get(TEAM_KEY)
    chosen = next((member for member in members if member.team_id == wanted), members[0] if members else None)
    if chosen is not None and chosen.team_id != wanted:
        # Stored, so that a new membership does not switch the active team between two clicks.
        request.session[TEAM_KEY] = chosen.team_id
    return viewer_of(chosen, request_id=request.META.get("HUB_REQUEST_ID", "")) if chosen else None
