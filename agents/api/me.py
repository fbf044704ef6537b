"""/api/v1/me and /api/v1/agents: who the key is, and who else is there."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypedDict
from uuid import UUID

from django.db.models import F

from agents.api.doors import Answer, Reading
from agents.models import Agent
from memoryhub.core.models import Membership
from memoryhub.core.models import Sensitivity as Level
from memoryhub.core.transactions import current
from memoryhub.interface.http.pagination import Listed, page, read_window
from memoryhub.memory.answers import Instant, Sensitivity, one_of
from memoryhub.memory.selectors import tasks as task_selectors


class Who(TypedDict):
    id: UUID
    name: str
    kind: Annotated[str, one_of("human", "agent", "system")]


class Mine(TypedDict):
    """`life`: the ordinal of the history of the team's ledger: it has grown where commits were lost."""

    actor: Who
    team: str
    role: str
    life: int
    clearance: Sensitivity
    compartments: list[str]
    scopes: list[str]


class AgentRow(TypedDict):
    """`holds`: keys of tasks, of those that the reader may see. `last_seen_at`: when a key of the agent was last used.

    Null for an agent that is cleared for more than the reader: when it works tells of what is hidden.
    """

    name: str
    role: str
    group: str
    description: str
    last_seen_at: Instant | None
    holds: list[str]


class Me(Reading):
    """Actor, team, role, clearance, compartments and scopes of the key, as this request meets them.

    Nothing is cached: what was changed or revoked meanwhile holds from the next request on.
    """

    scope = None
    answers: ClassVar[Mapping[int, Any]] = {200: Mine}

    def read(self, **url: Any) -> Answer:
        viewer = self.viewer
        data: Mine = {
            "actor": {"id": viewer.actor, "name": viewer.name, "kind": viewer.kind},
            "team": viewer.team_slug,
            "role": viewer.role,
            "life": current().life,
            "clearance": str(Level(viewer.clearance).label),
            "compartments": sorted(viewer.compartments),
            "scopes": sorted(viewer.scopes or ()),
        }
        return Answer(data)


class Agents(Reading):
    """The team's agents by name, with the visible tasks that each holds: one snapshot a page."""

    answers: ClassVar[Mapping[int, Any]] = {200: Listed[AgentRow]}
    parameters: ClassVar[frozenset[str]] = frozenset({"limit", "cursor"})

    def read(self, **url: Any) -> Answer:
        rows = Agent.objects.select_related("membership").filter(
            membership__team_id=self.viewer.team, membership__is_active=True
        )
        window = read_window(self.params, address=self.request.path, owner=self.viewer.membership)
        rows = rows.annotate(name=F("membership__name"), role=F("membership__role"))
        if window.position is not None:
            rows = rows.filter(name__lt=window.position) if window.backwards else rows.filter(name__gt=window.position)
        found = list(rows.order_by("-name" if window.backwards else "name")[: window.limit + 1])
        made = page(window, found, lambda row: row.name)
        held = task_selectors.holdings(self.viewer, [row.name for row in found])
        results: list[AgentRow] = [
            {
                "name": row.name,
                "role": row.role,
                "group": row.group,
                "description": row.description,
                "last_seen_at": row.last_seen_at if self._may_know(row.membership) else None,
                "holds": held.get(row.name, []),
            }
            for row in made.results
        ]
        return Answer({"results": results, "next": made.next, "previous": made.previous}, headers=made.headers)

    def _may_know(self, agent: Membership) -> bool:
        return self.viewer.dominates(agent.clearance, agent.compartments)
