"""Delegation: what one member may give another (I24), and what the last who has it cannot lose (ADR 12).

Nobody gives more than they have: whoever is raised ends within the granter's own clearance and compartments. Taking
away is free, but for the last administrator of a team, of a level or of a compartment in it. The system (manage.py,
which whoever runs the machine may do) may give everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from memoryhub.core.errors import Code, Conflict, Forbidden
from memoryhub.core.models import SYSTEM_TEAM, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer, viewer_of

_RANK = {Role.READER: 0, Role.AGENT: 0, Role.SUPPORT: 1, Role.LEAD: 2, Role.ADMIN: 3, Role.SYSTEM: 3}


@dataclass(frozen=True, slots=True)
class MemberRights:
    """What a membership gives."""

    role: str
    clearance: int
    compartments: frozenset[str]
    is_active: bool

    @classmethod
    def of(cls, member: Membership) -> "MemberRights":
        """Those of a membership as it was read."""
        return cls(member.role, member.clearance, frozenset(member.compartments), member.is_active)

    def exceeds(self, other: "MemberRights") -> bool:
        """Whether these are more than the other in any respect."""
        return (
            (self.is_active and not other.is_active)
            or _RANK[Role(self.role)] > _RANK[Role(other.role)]
            or self.clearance > other.clearance
            or not self.compartments <= other.compartments
        )


NOTHING = MemberRights(Role.READER, Sensitivity.PUBLIC, frozenset(), is_active=False)


def begin(viewer: Viewer, *, also: Iterable[int] = ()) -> Viewer:
    """Begin a change of rights in the viewer's team (`also`: and other teams); the viewer as their rights are now.

    One at a time in a team until the transaction ends, so that two administrators cannot take each other's rights away
    at once, nor give what they have just lost. Raises Forbidden when the viewer administers the team no more.
    """
    teams = Team.objects.filter(id__in={viewer.team, *also}).order_by("id")
    list(teams.select_for_update(no_key=True).values_list("id"))
    if viewer.is_system:
        return viewer
    member = administrators(viewer.team).filter(id=viewer.membership).select_related("actor", "team").first()
    if member is None:
        raise Forbidden("You are no longer an administrator of this team.")
    return viewer_of(member)


def administrators(team: int) -> QuerySet[Membership]:
    """The active members of the role admin in a team, whose account is active."""
    return Membership.objects.filter(team_id=team, role=Role.ADMIN, is_active=True, actor__is_active=True)


def administers_installation(actor: UUID) -> bool:
    """Whether a person administers the installation: an active membership of the role admin in the team `system`.

    This alone decides it, for an account that is active; the admin pages' tick `is_superuser` shows and changes it.
    """
    return installers().filter(actor_id=actor).exists()


def installers() -> QuerySet[Membership]:
    """The memberships by which people administer the installation."""
    return Membership.objects.filter(team__slug=SYSTEM_TEAM, role=Role.ADMIN, is_active=True)


def require_bounds(granter: Viewer, before: MemberRights, after: MemberRights) -> None:
    """Raises Forbidden when `after` is more than `before` in any respect, and not within the granter's own rights."""
    if after.exceeds(before) and not granter.dominates(after.clearance, after.compartments):
        raise Forbidden(
            "You cannot give more than you have: the member would be above your own clearance or compartments."
        )


def require_over(viewer: Viewer, person: UUID) -> None:
    """Raises Forbidden unless the viewer has, in each team of the person, at least the person's rights.

    For what would let the viewer act as the person: a password, an account that is made active again.
    """
    if viewer.is_system or viewer.actor == person:
        return
    mine = {member.team_id: member for member in Membership.objects.filter(actor_id=viewer.actor, is_active=True)}
    for theirs in Membership.objects.filter(actor_id=person, is_active=True):
        own = mine.get(theirs.team_id)
        if own is None or MemberRights.of(theirs).exceeds(MemberRights.of(own)):
            raise Forbidden(
                "This person has rights in a team that you have not, so that you could act as them. "
                "Whoever runs the machine can do it: manage.py."
            )


def keep_last(member: Membership, after: MemberRights) -> None:
    """Raises Conflict when an administrator would lose what no other administrator of the team has.

    That is: to administer the team (the installation, in the team `system`), a clearance, a compartment. Counted are
    those who can use it: active members whose account is active and opens the admin pages. Call begin() before.
    """
    able = administrators(member.team_id).filter(actor__is_staff=True)
    if not able.filter(id=member.id).exists():
        return
    others = list(able.exclude(id=member.id).values_list("clearance", "compartments"))
    stays = after.is_active and after.role == Role.ADMIN
    if not stays and not others:
        what = "of the installation" if member.team.slug == SYSTEM_TEAM else "of this team"
        raise _is_last(member, what, "make another one")
    before = MemberRights.of(member)
    top = max([after.clearance if stays else -1, *(clearance for clearance, _ in others)])
    if top < before.clearance:
        level = Sensitivity(before.clearance).label
        raise _is_last(member, f"who is cleared for {level}", "clear another one")
    kept = set(after.compartments if stays else ()).union(*(words for _, words in others))
    lost = sorted(before.compartments - kept)
    if lost:
        raise _is_last(member, f"who can give {', '.join(lost)}", "give it to another one")


def _is_last(member: Membership, what: str, remedy: str) -> Conflict:
    return Conflict(Code.CONFLICT, f"{member.name} is the last administrator {what}: {remedy} first.")
