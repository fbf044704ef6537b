"""/api/v1/me and /api/v1/agents: the key's identity, and the agents of its team."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import F

from agents.api.doors import ReadEndpoint
from agents.models import Agent
from memoryhub.core.fields import Schema
from memoryhub.core.models import ActorKind
from memoryhub.core.models import Sensitivity as Level
from memoryhub.core.transactions import current
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.queries import PageQuery
from memoryhub.memory.schemas.rows import Instant, Sensitivity, one_of
from memoryhub.memory.selectors import tasks as task_selectors


class ActorOfKey(Schema):
    id: UUID
    name: str
    kind: Annotated[str, one_of(*ActorKind.values)]


class KeyOwner(Schema):
    """`life`: the ordinal of the ledger's present history; it grows where commits were lost."""

    actor: ActorOfKey
    team: str
    role: str
    life: int
    clearance: Sensitivity
    compartments: list[str]
    scopes: list[str]


class AgentRow(Schema):
    """`holds`: keys of its tasks that the reader may see. `last_seen_at`: when a key of the agent was last used.

    Null for an agent that is cleared for more than the reader: its activity would disclose what is hidden.
    """

    name: str
    role: str
    group: str
    description: str
    last_seen_at: Instant | None
    holds: list[str]


class Me(ReadEndpoint):
    """Read the key's identity: actor, team, role, clearance, compartments and scopes.

    Nothing is cached: a concurrent change or revocation takes effect from the next request on.
    """

    address = "me"
    scope = None

    def read(self) -> KeyOwner:
        viewer = self.viewer
        return KeyOwner(
            actor=ActorOfKey(viewer.actor, viewer.name, viewer.kind),
            team=viewer.team_slug,
            role=viewer.role,
            life=current().life,
            clearance=str(Level(viewer.clearance).label),
            compartments=sorted(viewer.compartments),
            scopes=sorted(viewer.scopes or ()),
        )


class Agents(ReadEndpoint):
    """List the team's agents by name, with the visible tasks that each holds. Each page is one snapshot."""

    address = "agents"

    def read(self, query: PageQuery) -> Page[AgentRow]:
        rows = Agent.objects.select_related("membership").filter(
            membership__team_id=self.viewer.team, membership__is_active=True
        )
        rows = rows.annotate(name=F("membership__name"), role=F("membership__role"))
        held: dict[str, list[str]] = {}

        def fetch(position: Any, backwards: bool, limit: int) -> list[Any]:
            narrowed = rows
            if position is not None:
                narrowed = rows.filter(name__lt=position) if backwards else rows.filter(name__gt=position)
            found = list(narrowed.order_by("-name" if backwards else "name")[:limit])
            held.update(task_selectors.holdings(self.viewer, [row.name for row in found]))
            return found

        def show(row: Any) -> AgentRow:
            may_know = self.viewer.dominates(row.membership.clearance, row.membership.compartments)
            return AgentRow(
                name=row.name,
                role=row.role,
                group=row.group,
                description=row.description,
                last_seen_at=row.last_seen_at if may_know else None,
                holds=held.get(row.name, []),
            )

        return self.page(fetch, lambda row: row.name, show)
