"""A desk on which everything happens that a queue or a timeline shows: one driver per type of event, in their order.

DRIVERS has the types that the code's registries know (live_types), so that a new one without a driver fails a test.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from agents.waiting.frames import ADMINISTRATION
from escalations import states, timers
from escalations.actions import answers, claims, learnings, notes
from escalations.actions.common import lock
from escalations.actions.escalate import escalate
from escalations.desk import phrases
from escalations.models import Audience, Escalation
from memoryhub.core.access.permissions import VERBS
from memoryhub.core.actions import memberships
from memoryhub.core.ids import mark_of
from memoryhub.core.models import Outbox, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import alerts, decisions, facts, leases, observations, pins, retention, tasks
from memoryhub.memory.actions import learnings as memory_learnings
from memoryhub.memory.schemas.alerts import NewAlert
from memoryhub.memory.schemas.decisions import NewDecision, Replacement
from memoryhub.memory.schemas.facts import NewFact
from memoryhub.memory.schemas.learnings import NewLearning
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask, TaskChange
from memoryhub.memory.selectors.tasks import TaskRef, by_key
from tests.support.factories import Person, TestAgent, make_agent, make_person, make_team


@dataclass
class LiveWorld:
    """Its case `m`, which everybody sees, is the one whose timeline is open."""

    team: Team
    people: dict[str, Person]
    returns: TestAgent
    billing: TestAgent
    owner_sql: psycopg.Connection[Any]
    made: dict[str, Escalation] = field(default_factory=dict)
    ids: dict[str, UUID] = field(default_factory=dict)
    token: int = 0

    @property
    def agent(self) -> Viewer:
        return self.returns.viewer

    def who(self, role: str) -> Viewer:
        return self.people[role].viewer

    @property
    def system(self) -> Viewer:
        return system_viewer(self.team.id)

    def task(self, key: str = "m") -> TaskRef:
        with viewer_transaction(self.agent, read_only=True):
            return by_key(self.agent, key)

    def ask(self, key: str, agent: TestAgent, question: str, sensitivity: str = "public", **more: Any) -> None:
        """Escalate a task of this key, which is made where there is none."""
        with viewer_transaction(agent.viewer):
            task, _ = tasks.create(agent.viewer, item=NewTask(key=key, title=key, sensitivity=sensitivity))
            fields = {"reason_code": "other", "reason": "It is above my limit.", "allowed": ["respond"], **more}
            self.made[key], _ = escalate(agent.viewer, task=task, question=question, **fields)

    def log(self, content: Any, **more: Any) -> UUID:
        """An observation of the open case."""
        return observations.log(self.agent, item=NewObservation(content=content, task="m", **more)).id

    def log_of_all_labels(self, word: str) -> None:
        self.log({"lamp": f"{word} for all"}, tags=["x, y", "order"])
        self.log([word, "with a limit"], sensitivity="internal", tags=["order"])
        self.log(f"{word}: a secret lamp", sensitivity="confidential")
        self.log(f"{word}: a private lamp", private=True)


def make_world(owner_sql: psycopg.Connection[Any]) -> LiveWorld:
    """People of each role, and one whose clearance sees only what is public; four cases."""
    team = make_team("live")
    internal, all_of_it = Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL
    people = {
        "reader": make_person(team, "reader", internal, name="rita"),
        "support": make_person(team, "support", internal, name="sam"),
        "lead": make_person(team, "lead", all_of_it, name="lee"),
        "admin": make_person(team, "admin", all_of_it, name="ada"),
        "low": make_person(team, "support", Sensitivity.PUBLIC, name="low"),
        "leaver": make_person(team, "lead", all_of_it, name="leaver"),
    }
    returns, billing = make_agent(team, 2, name="returns"), make_agent(team, 2, name="billing")
    world = LiveWorld(team, people, returns, billing, owner_sql)
    with viewer_transaction(world.agent):
        tasks.create(world.agent, item=NewTask(key="m", title="m", sensitivity="public"))
    world.ids["known"] = world.log("known before", tags=["order"])
    world.ask("m", returns, "Is the café lamp broken?", priority=2)
    world.ask("b", billing, "Pay it?", "internal", reason_code="safety")
    world.ask("c", returns, "A secret lamp?", "confidential", priority=3)
    world.ask("d", billing, "Which one?", priority=0, reason="The lamp is unknown.")
    return world


Driver = Callable[[LiveWorld], object]
# By the type of event, or `type:again`.
DRIVERS: dict[str, Driver] = {}
# The order in which they run. What stands in one step happens to different rows and items, so that one comparison
# after it sees each.
STEPS = (
    ("observation.log", "observation.log_batch", "observation.pin", "decision.record"),
    ("observation.unpin", "decision.outcome", "decision.superseded", "decision.revoke"),
    ("decision.outcome:again", "fact.put", "fact.delete", "learning.log", "alert.send", "alert.acknowledge"),
    ("decision.supersede",),
    ("escalation.claim",),
    ("escalation.keep", "observation.log:claimed", "escalation.note"),
    ("escalation.release", "escalation.run_out", "escalation.withdraw"),
    ("escalation.decide",),
    ("escalation.hand_back",),
    ("escalation.learn", "escalation.acknowledge", "escalation.close_unacknowledged"),
    ("escalation.next", "escalation.escalate"),
    ("escalation.cancel",),
    ("escalation.finish",),
    ("task.create", "task.reopen", "task.claim", "task.renew", "task.release", "task.claim_next", "task.run_out"),
    ("task.update", "task.complete", "task.fail", "observation.expire"),
)


def live_types() -> set[str]:
    """Every type of event, and every verb, of what is not administration."""
    found = {f"escalation.{verb}" for verb in states.TRANSITIONS} | set(phrases.EVENTS) | set(VERBS)
    return {name for name in found if name.partition(".")[0] not in ADMINISTRATION | {"draft"}}


def drives(*types: str) -> Callable[[Driver], Driver]:
    def add(driver: Driver) -> Driver:
        DRIVERS.update(dict.fromkeys(types, driver))
        return driver

    return add


DRIVERS["observation.log"] = lambda world: world.log_of_all_labels("seen")


@drives("observation.log_batch")
def _log_batch(world: LiveWorld) -> None:
    items = [NewObservation(content=f"lamp {number}", task="m", tags=["order"]) for number in range(3)]
    sealed = [NewObservation(content="a secret", task="m", sensitivity="confidential")]
    observations.log_batch(world.agent, items=items + sealed)


DRIVERS["observation.pin"] = lambda world: pins.pin(world.agent, observation_id=world.ids["known"])
DRIVERS["observation.unpin"] = lambda world: pins.unpin(world.agent, observation_id=world.ids["known"])


@drives("decision.record")
def _record(world: LiveWorld) -> None:
    for name, label in (("first", "public"), ("second", "public"), ("third", "public"), ("sealed", "confidential")):
        item = NewDecision(task="m", decision={"lamp": name}, reasoning="It is due.", sensitivity=label)
        world.ids[name], _ = decisions.record(world.agent, item=item)


@drives("decision.outcome")
def _outcome(world: LiveWorld) -> None:
    decisions.outcome(world.agent, decision_id=world.ids["first"], outcome="worked", note="The lamp shines.")
    decisions.outcome(world.agent, decision_id=world.ids["sealed"], outcome="failed", note="In secret.")


# The words of the first go.
DRIVERS["decision.outcome:again"] = lambda world: decisions.outcome(
    world.agent, decision_id=world.ids["first"], outcome="failed", note="No more."
)


@drives("decision.supersede")
def _supersede(world: LiveWorld) -> None:
    item = Replacement(decision="no lamp", reasoning="")
    decisions.supersede(world.agent, decision_id=world.ids["first"], item=item)


@drives("decision.superseded")
def _superseded(world: LiveWorld) -> None:
    item = Replacement(decision="above", reasoning="", sensitivity="internal")
    decisions.supersede(world.agent, decision_id=world.ids["second"], item=item)


DRIVERS["decision.revoke"] = lambda world: decisions.revoke(
    world.agent, decision_id=world.ids["third"], reason="The lamp was a torch."
)


DRIVERS["fact.put"] = lambda world: facts.put(world.agent, key="lamp", item=NewFact(value=1, task="m"), seen=None)


@drives("fact.delete")
def _delete(world: LiveWorld) -> None:
    sql = "select id, version, event_id from fact where team_id = %s and key = 'lamp'"
    ((fact, version, event),) = world.owner_sql.execute(sql, [world.team.id]).fetchall()
    facts.delete(world.agent, key="lamp", seen=facts.Seen(fact, version, mark_of(event)))


DRIVERS["learning.log"] = lambda world: memory_learnings.log(
    world.agent, item=NewLearning(signal_type="pattern", details="lamp", context={"lamp": 1}, task="m")
)


@drives("alert.send", "alert.acknowledge")
def _alert(world: LiveWorld) -> None:
    item = NewAlert(to=["billing"], insight="lamp", task="m")
    alert, _ = alerts.send(world.agent, to=[world.billing.membership], item=item)
    alerts.acknowledge(world.billing.viewer, alert_id=alert)


@drives("escalation.claim")
def _claim(world: LiveWorld) -> None:
    for key in ("m", "b"):
        claims.claim(world.who("support"), escalation_id=world.made[key].id)


DRIVERS["escalation.keep"] = lambda world: claims.keep(world.who("support"), escalation_id=world.made["m"].id)
DRIVERS["observation.log:claimed"] = lambda world: world.log_of_all_labels("again")


@drives("escalation.note")
def _note(world: LiveWorld) -> None:
    notes.note(world.who("reader"), escalation_id=world.made["m"].id, text="The LÁMP, for us", audience=Audience.PEOPLE)
    notes.note(world.agent, escalation_id=world.made["m"].id, text="For all")


@drives("escalation.release")
def _release(world: LiveWorld) -> None:
    claims.release(world.who("lead"), escalation_id=world.made["m"].id)


@drives("escalation.run_out")
def _run_out(world: LiveWorld) -> None:
    made = world.made["b"].id
    world.owner_sql.execute("update escalation set claim_expires_at = now() - interval '1 s' where id = %s", [made])
    with viewer_transaction(world.system):
        lock(world.system, made)


@drives("escalation.withdraw")
def _withdraw(world: LiveWorld) -> None:
    leaver = world.people["leaver"]
    claims.claim(leaver.viewer, escalation_id=world.made["d"].id)
    memberships.change(world.who("admin"), member=leaver.membership, is_active=False)
    with viewer_transaction(world.system):
        timers.release_claims_of_member(world.system, Outbox(row_id=leaver.membership.id))


@drives("escalation.decide")
def _decide(world: LiveWorld) -> None:
    lead = world.who("lead")
    for key in ("m", "c"):
        claims.claim(lead, escalation_id=world.made[key].id)
        fields = {"verdict": "respond", "message": f"A lamp for {key}", "done": "Called", "hand_back": False}
        answers.decide(lead, escalation_id=world.made[key].id, **fields)


DRIVERS["escalation.hand_back"] = lambda world: [
    answers.hand_back(world.who("lead"), escalation_id=world.made[key].id) for key in ("m", "c")
]
DRIVERS["escalation.learn"] = lambda world: learnings.learn(
    world.who("lead"), escalation_id=world.made["m"].id, signal_type="success", details="lamp"
)
DRIVERS["escalation.acknowledge"] = lambda world: answers.acknowledge(world.agent, escalation_id=world.made["m"].id)


@drives("escalation.close_unacknowledged")
def _close(world: LiveWorld) -> None:
    with viewer_transaction(world.system):
        row = Escalation.objects.get(id=world.made["c"].id)
        timers.close_unacknowledged(world.system, Outbox(row_id=row.id, generation=row.generation))


DRIVERS["escalation.next"] = lambda world: claims.next_free(world.who("low"))
DRIVERS["escalation.escalate"] = lambda world: world.ask("m", world.returns, "And now the lamp?", priority=1)


@drives("escalation.cancel")
def _cancel(world: LiveWorld) -> None:
    answers.cancel(world.agent, escalation_id=world.made["m"].id, reason="The lamp shines.")


@drives("escalation.finish")
def _finish(world: LiveWorld) -> None:
    world.ask("m", world.returns, "The last lamp?")
    claims.claim(world.who("support"), escalation_id=world.made["m"].id)
    answers.finish(world.who("support"), escalation_id=world.made["m"].id, done="Changed the lamp.")


DRIVERS["task.create"] = lambda world: tasks.create(world.agent, item=NewTask(key="new", title="lamp"))
DRIVERS["task.reopen"] = lambda world: leases.reopen(world.agent, task=world.task(), reason="Lamp.")


@drives("task.claim")
def _claim_task(world: LiveWorld) -> None:
    world.token = leases.claim(world.agent, task=world.task()).token


DRIVERS["task.renew"] = lambda world: leases.renew(world.agent, task=world.task(), token=world.token)
DRIVERS["task.release"] = lambda world: leases.release(world.agent, task=world.task(), token=world.token)


@drives("task.claim_next")
def _claim_next(world: LiveWorld) -> None:
    for _ in range(2):  # `m`, and what was made since
        leases.claim_next(world.agent)


@drives("task.run_out")
def _run_out_task(world: LiveWorld) -> None:
    sql = "update task set lease_expires_at = now() - interval '1 s' where team_id = %s and holder_id is not null"
    world.owner_sql.execute(sql, [world.team.id])
    leases.run_out(world.system)


@drives("task.update")
def _update(world: LiveWorld) -> None:
    with viewer_transaction(world.agent):
        row = tasks.lock(world.agent, by_key(world.agent, "m").id)
        expected = (row.version, mark_of(row.change_id or row.clock_id))
        tasks.update(world.agent, task=by_key(world.agent, "m"), expected=expected, change=TaskChange(title="A lamp"))


@drives("task.complete")
def _complete(world: LiveWorld) -> None:
    _claim_task(world)
    leases.complete(world.agent, task=world.task(), token=world.token)


@drives("task.fail")
def _fail(world: LiveWorld) -> None:
    leases.reopen(world.agent, task=world.task(), reason="Once more.")
    _claim_task(world)
    leases.fail(world.agent, task=world.task(), token=world.token)


@drives("observation.expire")
def _expire(world: LiveWorld) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=1)
    world.log("a lamp for a second", tags=["order"], expires_at=ends)
    time.sleep(1.2)
    retention.expire(world.system)
