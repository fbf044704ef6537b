"""A team with rows in every labelled table, twice: in the open, and under a confidential label with a compartment."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from django.apps import apps
from psycopg import sql

from escalations.actions import answers, claims, notes
from escalations.actions.escalate import escalate
from escalations.models import Escalation
from memoryhub.core.models import Label, Labelled, Sensitivity, Team
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions import alerts, decisions, facts, learnings, observations, tasks
from memoryhub.memory.models import Task
from memoryhub.memory.schemas.alerts import NewAlert
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.facts import NewFact
from memoryhub.memory.schemas.learnings import NewLearning
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.factories import Person, TestAgent, make_agent, make_person, make_team, unique

HIDDEN = (Sensitivity.CONFIDENTIAL, ("finance",))

# Every table whose rows carry a label, worked out from the models, so that a new one is tested, too.
LABELLED = sorted(model._meta.db_table for model in apps.get_models() if issubclass(model, Labelled))
# Those of which the app role may only add rows.
KEPT = sorted(model._meta.db_table for model in apps.get_models() if getattr(model, "app_may", "") == "SELECT, INSERT")
CHANGED = [table for table in LABELLED if table not in KEPT]
LEDGER = ["access_log", "event"]
GUARDED = [*LABELLED, *LEDGER, "event_seq"]


@dataclass
class Trial:
    """The team, an agent and a person who see everything, and a person who sees neither label of HIDDEN."""

    team: Team
    agent: TestAgent
    high: Person
    low: Person
    open: Escalation
    hidden: Escalation

    @cached_property
    def hidden_label(self) -> int:
        return int(Label.objects.get(team=self.team, sensitivity=HIDDEN[0], compartments=list(HIDDEN[1])).id)


def make_trial() -> Trial:
    """A team whose tables all hold a row that `low` may see and one that they may not."""
    team = make_team("trial")
    agent = make_agent(team, *HIDDEN)
    high, low = make_person(team, "support", *HIDDEN), make_person(team, "lead")
    # To both, so that nothing but the label tells what each may see.
    for to, (sensitivity, compartments) in (([high, low], (Sensitivity.INTERNAL, ())), ([high], HIDDEN)):
        members = [person.membership for person in to]
        alerts.send(
            agent.viewer,
            to=members,
            item=NewAlert(to="all", insight="word", sensitivity=sensitivity, compartments=compartments),
        )
    made = [answered(agent.viewer, high.viewer, *label) for label in ((Sensitivity.INTERNAL, ()), HIDDEN)]
    return Trial(team, agent, high, low, *made)


def make_task(viewer: Viewer, sensitivity: int = Sensitivity.INTERNAL, compartments: Any = ()) -> Task:
    """A task of this label."""
    task, _ = tasks.create(
        viewer, item=NewTask(key=unique("t"), title="A task", sensitivity=sensitivity, compartments=list(compartments))
    )
    return task


def ask(viewer: Viewer, task: Task, word: str = "word") -> Escalation:
    """An open escalation of the task."""
    made, _ = escalate(
        viewer,
        task=task,
        reason_code="other",
        reason=f"reason {word}",
        question=f"question {word}",
        allowed=["respond"],
    )
    return made


def answered(
    agent: Viewer, person: Viewer, sensitivity: int = Sensitivity.INTERNAL, compartments: Any = (), word: str = "word"
) -> Escalation:
    """A task with memories, escalated, noted and answered: a row in each labelled table."""
    task = make_task(agent, sensitivity, compartments)
    observations.log(agent, item=NewObservation(content=f"observation {word}", task=task.key))
    decisions.record(agent, item=NewDecision(task=task.key, decision=f"decision {word}", reasoning=f"reasoning {word}"))
    learnings.log(
        agent,
        item=NewLearning(task=task.key, signal_type="pattern", details=f"details {word}", context={"context": word}),
    )
    facts.put(agent, key=task.key, item=NewFact(value=f"fact {word}", task=task.key), seen=None)
    made = ask(agent, task, word)
    claims.claim(person, escalation_id=made.id)
    notes.note(person, escalation_id=made.id, text=f"note {word}")
    return answers.decide(person, escalation_id=made.id, verdict="respond", message=f"answer {word}")


def count(connection: psycopg.Connection[Any], table: str, team: int | None = None) -> int:
    """The rows that this login is shown of a table, of one team when given."""
    statement = sql.SQL("select count(*) from {} where %(team)s::int is null or team_id = %(team)s")
    row = connection.execute(statement.format(sql.Identifier(table)), {"team": team}).fetchone()
    assert row is not None
    return int(row[0])
