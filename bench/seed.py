"""A team with agents, keys, tasks and observations, made by the product's own actions in a fresh database.

It runs in its own process (`python -m bench.seed`, a plan as JSON on standard input, what was made on standard output).
"""

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.stack import PYTHON, Database, Stack

OBSERVATION: dict[str, Any] = {
    "content": {
        "tool": "get_order_details",
        "arguments": {"order_id": "#W2378156"},
        "result": "status delivered, 2 items, total 149.90 EUR, paid by card, sent to the address of the account",
    },
    "tags": ["tool_result", "order"],
    "importance": 0.5,
}


@dataclass(frozen=True)
class Plan:
    """The number of agents, and of observations by task key."""

    agents: int
    tasks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Seeded:
    """The team's id, and the agents' membership ids and keys."""

    team: int
    members: list[str]
    keys: list[str]


def seed(stack: Stack, database: Database, plan: Plan) -> Seeded:
    """Make what the plan says."""
    printed = stack.run([PYTHON, "-m", "bench.seed"], database.environment, json.dumps(asdict(plan)))
    return Seeded(**json.loads(printed))


def _make(plan: Plan) -> Seeded:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    from memoryhub.core.actions import teams
    from memoryhub.core.models import SYSTEM_TEAM, Membership, Team
    from memoryhub.core.viewers import system_viewer, viewer_of

    installation = system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
    team = teams.add(installation, slug="bench", name="Bench")
    admin = system_viewer(team.id)
    made = [_agent(admin, f"agent-{number}") for number in range(plan.agents)]
    members = [Membership.objects.select_related("actor", "team").get(id=member) for member, _ in made]
    for key, count in plan.tasks.items():
        _fill(viewer_of(members[0]), key, count)
    return Seeded(team.id, [str(member) for member, _ in made], [key for _, key in made])


def _agent(admin: Any, name: str) -> tuple[Any, str]:
    from agents.actions import agents, keys
    from agents.models import DEFAULT_SCOPES
    from memoryhub.core.models import Sensitivity

    agent = agents.add(admin, name=name, clearance=Sensitivity.INTERNAL, compartments=[])
    return agent.membership_id, keys.issue(admin, member=agent.membership, scopes=DEFAULT_SCOPES)[1]


def _fill(viewer: Any, key: str, count: int) -> None:
    from memoryhub.memory.actions import observations, tasks
    from memoryhub.memory.schemas.observations import NewObservation
    from memoryhub.memory.schemas.tasks import NewTask

    tasks.create(viewer, item=NewTask(key=key, title=f"Task {key}"))
    while count:
        size = min(count, 1000)
        observations.log_batch(viewer, items=[NewObservation(**OBSERVATION, task=key)] * size)
        count -= size


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_make(Plan(**json.load(sys.stdin))))))
