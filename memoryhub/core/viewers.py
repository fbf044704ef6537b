"""Who is asking: the value that every action and selector takes first, made at the door."""

from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from memoryhub.core.ledger import lives
from memoryhub.core.models import ActorKind, Membership, Role, Sensitivity


@dataclass(frozen=True, slots=True)
class Viewer:
    """One member of one team, for one request. `scopes` None: not limited by a key (people, the system).

    `rate_limit`: the requests per minute that the key may make; None: as many as the installation allows.

    The ids of the visible labels are not kept here but worked out when a transaction begins: a list made
    earlier would hide rows under a label that was made since, and a feed would pass over them for good.
    """

    actor: UUID
    membership: UUID
    team: int
    team_slug: str
    name: str
    kind: str
    role: str
    clearance: int
    compartments: frozenset[str] = field(default_factory=frozenset)
    scopes: frozenset[str] | None = None
    credential: UUID | None = None
    request_id: str = ""
    rate_limit: int | None = None

    @property
    def compartment_array(self) -> str:
        """The compartments as PostgreSQL writes an array; no word has a quote (label_text). A list costs more."""
        return '{"' + '","'.join(sorted(self.compartments)) + '"}' if self.compartments else "{}"

    @property
    def is_agent(self) -> bool:
        return self.kind == ActorKind.AGENT

    @property
    def is_human(self) -> bool:
        return self.kind == ActorKind.HUMAN

    @property
    def is_system(self) -> bool:
        return self.kind == ActorKind.SYSTEM

    def dominates(self, sensitivity: int, compartments: frozenset[str] | tuple[str, ...] | list[str]) -> bool:
        """Whether this clearance allows a label: level at least as high, compartments a superset."""
        return self.is_system or (sensitivity <= self.clearance and self.compartments.issuperset(compartments))


def viewer_of(
    membership: Membership,
    *,
    scopes: frozenset[str] | None = None,
    credential: UUID | None = None,
    request_id: str = "",
) -> Viewer:
    """The viewer of a membership, whose `actor` and `team` should be loaded."""
    return Viewer(
        actor=membership.actor_id,
        membership=membership.id,
        team=membership.team_id,
        team_slug=membership.team.slug,
        name=membership.name,
        kind=membership.actor.kind,
        role=membership.role,
        clearance=membership.clearance,
        compartments=frozenset(membership.compartments),
        scopes=scopes,
        credential=credential or membership.id,
        request_id=request_id,
    )


@lru_cache(maxsize=1024)
def system_viewer(team: int) -> Viewer:
    """The team's own viewer, for background work: it sees every label of that team and no other team's."""
    member = Membership.objects.select_related("actor", "team").get(team_id=team, role=Role.SYSTEM)
    assert member.clearance == Sensitivity.CONFIDENTIAL
    return viewer_of(member)


lives.forgets(system_viewer.cache_clear)
