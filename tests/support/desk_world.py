"""A desk to test: a team with people, agents and an escalation of each kind, and people's browsers without a screen."""

import re
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from escalations import permissions
from escalations.actions.escalate import escalate
from escalations.models import Escalation
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.actions import observations, tasks
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.factories import Person, TestAgent, make_agent, make_person, make_team
from tests.support.ledger import head
from tests.support.signing_in import client_of

ACTION = {
    "name": "refund",
    "arguments": {"order": "1042", "amount": 80.5, "notify": True, "to": {"name": "Maria"}},
    "schema": {"type": "object", "properties": {"amount": {"type": "number", "maximum": 100}}},
}
HTML = {"Accept": "text/html,application/xhtml+xml"}
JSON = {"Accept": "application/json"}


@dataclass
class Desk:
    team: Team
    sam: Person
    lee: Person
    agent: TestAgent
    keys: list[str] = field(default_factory=list)

    def escalate(self, key: str | None = None, agent: TestAgent | None = None, **more: Any) -> Escalation:
        """A task with something known about it, which needs a person."""
        viewer = (agent or self.agent).viewer
        key = key or f"task-{len(self.keys)}"
        self.keys.append(key)
        label = {name: more.pop(name) for name in ("sensitivity", "compartments") if name in more}
        asked = {"reason_code": "other", "reason": "It is above my limit.", "question": f"May I do {key}?", **more}
        with viewer_transaction(viewer):
            task, _ = tasks.create(
                viewer, item=NewTask(key=key, title=f"Title of {key}", metadata={"order": "1042"}, **label)
            )
            known = {"paid": 80, "of": key}
            observations.log(viewer, item=NewObservation(content=known, task=task.key, tags=["order"], importance=0.9))
            made, _ = escalate(viewer, task=task, **asked)
        return made

    def log(self, key: str, content: Any, agent: TestAgent | None = None, **more: Any) -> None:
        """An observation of the task."""
        viewer = (agent or self.agent).viewer
        with viewer_transaction(viewer):
            observations.log(viewer, item=NewObservation(content=content, task=key, **more))


def rows_of(page: Any) -> list[str]:
    """The ids of the escalations that the queue's page lists, in its order."""
    return re.findall(r'<tr role="row" id="e-([0-9a-f-]+)"', page.text)


def body(segment: str) -> dict[str, str]:
    """What the verb's first form sends when only what it requires is filled in."""
    verb = next(verb for verb in permissions.VERBS.values() if verb.segment == segment)
    inputs = [one for one in verb.offers[0].inputs if one.required or one.choices]
    sent = {one.name: one.choices[0][0] if one.choices else "x" for one in inputs}
    return sent | ({"verdict": verb.offers[0].name} if verb.name == "decide" else {})


def browser_of(person: Person, **headers: str) -> Client:
    """A signed-in person's browser, which does enforce CSRF tokens."""
    client = client_of(person.actor, enforce_csrf_checks=True, headers=headers or HTML)
    client.get("/")  # sets the cookie of the token
    return client


def post(client: Client, path: str, body: Any = None, **headers: str) -> Any:
    """POST with the token that the client's cookie holds; a dict as a form, bytes as JSON."""
    token = client.cookies["csrftoken"].value
    sent = {"X-CSRFToken": token, **headers}
    if isinstance(body, bytes):
        return client.post(path, body, content_type="application/json", headers=sent)
    return client.post(path, body or {}, headers=sent)


def act(client: Client, escalation: Escalation | str, verb: str, body: Any = None, **headers: str) -> Any:
    """What a person's verb on an escalation is answered with; without headers as JSON."""
    row = escalation if isinstance(escalation, str) else escalation.id
    return post(client, f"/escalations/{row}/{verb}", body, **(headers or JSON))


def events(desk: Desk) -> int:
    """How many events the team's ledger has."""
    return head(desk.team.id)


def make_desk() -> Desk:
    """A team with two people and an agent."""
    team = make_team("desk")
    sam, lee = make_person(team, name="sam"), make_person(team, "lead", 2, ["finance"], name="lee")
    return Desk(team, sam, lee, make_agent(team, name="returns"))
