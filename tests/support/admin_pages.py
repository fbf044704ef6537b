"""The admin pages as tests use them: a browser of somebody, addresses, something to look at."""

from html import unescape
from html.parser import HTMLParser

from django.urls import reverse

from escalations.actions.escalate import escalate
from memoryhub.core.models import SYSTEM_TEAM, Team
from memoryhub.memory.actions import decisions, observations, tasks
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.factories import unique
from tests.support.ledger import events_of
from tests.support.signing_in import client_of

RECORDS = ["memory_task", "memory_observation", "memory_decision", "escalations_escalation"]
LISTS = [*RECORDS, "core_membership", "agents_agent", "agents_apikey", "escalations_queue", "core_event"]
LISTS += ["core_accesslog", "core_outbox"]
SECRET = "the word zanzibar"


def signed_in(person, team=None):
    """A browser of the person, whose active team is the given one."""
    client = client_of(person.actor)
    if team is not None:
        session = client.session
        session["team"] = team.id
        session.save()
    return client


def address(model, page="changelist", *args):
    return reverse(f"admin:{model}_{page}", args=args)


def events(team):
    """Type and row of each event of the team."""
    return [(event.type, event.row_id) for event in events_of(team.id)]


def text(response):
    return unescape(response.content.decode())


def fill(agent, *, sensitivity=None, compartments=None, content="Hello", key=None):
    """A task with an observation, a private one, a decision and an escalation."""
    viewer = agent.viewer
    task, _ = tasks.create(
        viewer,
        item=NewTask(key=key or unique("task"), title=content, sensitivity=sensitivity, compartments=compartments),
    )
    label = {"sensitivity": sensitivity, "compartments": compartments}
    items = [NewObservation(content=content, task=task.key, private=private, **label) for private in (False, True)]
    shared, private = (observations.log(viewer, item=item).id for item in items)
    decision, _ = decisions.record(viewer, item=NewDecision(task=task.key, decision=content, reasoning=content))
    escalation, _ = escalate(viewer, task=task, reason_code="other", reason=content, question=content)
    return {
        "memory_task": task.id,
        "memory_observation": shared,
        "memory_decision": decision,
        "escalations_escalation": escalation.id,
        "private": private,
    }


def system():
    return Team.objects.get(slug=SYSTEM_TEAM)


class _Form(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sent, self._select = {}, ""

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag == "select":
            self._select = said["name"]
        elif tag == "option" and "selected" in said:
            self.sent[self._select] = said["value"]
        elif tag == "input" and "name" in said and (said["type"] != "checkbox" or "checked" in said):
            self.sent[said["name"]] = said.get("value", "on" if said["type"] == "checkbox" else "")


def as_shown(page):
    """What a browser sends of a page's form that nobody has touched."""
    form = _Form()
    form.feed(page.content.decode())
    return form.sent


def account(client, person, *ticked, **more):
    """Send a person's page with these ticks."""
    form = {"email": "", **dict.fromkeys(ticked, "on"), **more}
    return client.post(address("core_actor", "change", person.actor.id), form)
