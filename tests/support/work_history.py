"""A team at work over random weeks, for the roll-up of the insights: what it does, and how it is asked for figures."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg

from agents.models import Scope
from escalations.actions import answers, claims
from escalations.reports import roll_up
from memoryhub.core.errors import HubError
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.factories import make_person, make_team
from tests.support.history import History
from tests.support.ledger import head

Connection = psycopg.Connection[Any]
ALL = (Sensitivity.CONFIDENTIAL, ["finance"])
LABELS: list[dict[str, Any]] = [
    {"sensitivity": "public"},
    {"sensitivity": "internal"},
    {"sensitivity": "internal", "compartments": ["finance"]},
    {"sensitivity": "confidential", "compartments": ["finance"]},
]
READERS = [(0, []), (1, []), (1, ["finance"]), (2, []), ALL]
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
GROUPS = ("", "by=week", "by=agent", "by=agent,week")
ASKED = {"reason_code": "other", "reason": "r", "question": "q", "allowed": ["respond", "ignore"]}


@dataclass
class World:
    """A team at work: agents and a person who may do everything, and readers of whom each sees other tasks."""

    owner_sql: Connection
    rng: random.Random
    team: Team = field(default_factory=lambda: make_team("rolled"))
    keys: list[str] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    escalations: list[UUID] = field(default_factory=list)
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.agents = [make_api(self.team, *ALL, name=f"a{number}") for number in range(4)]
        self.people = [make_person(self.team, "lead", *ALL, name=f"p{number}") for number in range(2)]
        self.readers = [make_api(self.team, *sees, scopes=[Scope.INSIGHTS_READ]) for sees in READERS]
        self.history = History(self.owner_sql, self.team)
        self.history.at("2026-02-01T00:00:00Z")

    def live(self, steps: int) -> None:
        """Do so much, and let it have happened over the weeks."""
        for _ in range(steps):
            before = head(self.team.id)
            self.rng.choice(_VERBS)(self)
            if head(self.team.id) > before:
                self.history.at(self.now.isoformat())
                self.now += timedelta(hours=self.rng.expovariate(1 / 5))

    def let_clocks_disagree(self) -> None:
        """A task is completed just after a week has begun, and again, on a later id, just before."""
        monday = self.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7 - self.now.weekday())
        agent = self.agents[0]
        agent.make("tasks", {"key": "skewed", "title": "T", "sensitivity": "public"})
        for number in range(2):
            if number:
                agent.make("tasks/skewed/reopen", {"reason": "Again."})
            agent.make("tasks/skewed/complete", {"token": agent.make("tasks/skewed/claim")["token"]})
            self.now = monday + timedelta(minutes=10 * (number + 1))
            self.history.at(self.now.isoformat())
        earlier = "update event set at = %s where team_id = %s and at = %s and type = 'task.complete'"
        self.owner_sql.execute(earlier, [monday - timedelta(minutes=10), self.team.id, self.now])

    def follow(self, events: int) -> None:
        """Let the roll-up follow so many events."""
        roll_up.follow(self.team.id, size=events)

    def roll_up_again(self, part: float = 1) -> None:
        """Roll up this part of the ledger, from its beginning, in batches."""
        for table in ("insight_entry", "insight_tally", "insight_state"):
            self.owner_sql.execute(f"delete from {table} where team_id = %s", [self.team.id])
        for _ in range(10):
            self.follow(int(head(self.team.id) * part / 10))

    def contents(self) -> Any:
        """The tallies without their ids, and how many entries there are."""
        tallies = """
            select label_id, week, member_id, measure, next_own::text, next_any::text, number,
                   array(select unnest(spans) order by 1)
            from insight_tally where team_id = %s order by 1, 2, 3, 4, 5, 6"""
        entries = "select count(*), count(tally_id) from insight_entry where team_id = %s"
        return [self.owner_sql.execute(sql, [self.team.id]).fetchall() for sql in (tallies, entries)]

    @property
    def cursor(self) -> int:
        """How far the roll-up is."""
        sql = "select coalesce(max(seq), 0) from insight_state where team_id = %s"
        ((seq,),) = self.owner_sql.execute(sql, [self.team.id]).fetchall()
        return int(seq)

    def set_cursor(self, seq: int) -> None:
        self.owner_sql.execute("update insight_state set seq = %s where team_id = %s", [seq, self.team.id])

    def ask(self, reader: Api, query: str) -> Any:
        reply = reader.get(f"insights?{query}")
        assert reply.status == 200, reply
        return reply.data["results"]

    def differences(self, questions: int) -> int:
        """How many of so many random questions are answered otherwise than from the ledger alone."""
        found = 0
        for _ in range(questions):
            reader, query = self.rng.choice(self.readers), f"{self.rng.choice(GROUPS)}&{self._period()}"
            rolled = self.ask(reader, query)
            cursor = self.cursor
            self.set_cursor(0)  # nothing is rolled up
            found += rolled != self.ask(reader, query)
            self.set_cursor(cursor)
        return found

    def _period(self) -> str:
        monday = BEGIN.replace(hour=0)
        weeks = (self.now - monday) // timedelta(weeks=1) + 1
        ends = sorted(self.rng.sample(range(weeks * 7 * 24 + 1), 2))
        first, last = (monday + timedelta(hours=end) for end in ends)
        if self.rng.random() < 0.5:  # whole weeks
            last = monday + timedelta(weeks=self.rng.choice([weeks, self.rng.randint(1, weeks)]))
            first = last - timedelta(weeks=self.rng.randint(1, (last - monday) // timedelta(weeks=1)))
        return f"from={quote(first.isoformat())}&to={quote(last.isoformat())}"

    @property
    def agent(self) -> Api:
        return self.rng.choice(self.agents)

    @property
    def key(self) -> str:
        """Rather of the last tasks, so that several things happen to them."""
        return self.keys[-1 - min(int(self.rng.expovariate(1 / 4)), len(self.keys) - 1)] if self.keys else "none"


def create(world: World) -> None:
    key = f"t{len(world.keys)}"
    world.agent.make("tasks", {"key": key, "title": "T", **world.rng.choice(LABELS)})
    world.keys.append(key)


def claim(world: World) -> None:
    key = world.key
    reply = world.agent.post(f"tasks/{key}/claim")
    if reply.status == 200:
        world.tokens[key] = reply.data["token"]


def end(world: World) -> None:
    key = world.rng.choice(list(world.tokens) or [world.key])
    token = world.tokens.pop(key, 1)
    verb = world.rng.choice(["complete", "complete", "complete", "fail"])
    for agent in world.agents:  # the one that holds it is not refused
        agent.post(f"tasks/{key}/{verb}", {"token": token})


def _reopen(world: World) -> None:
    world.agent.post(f"tasks/{world.key}/reopen", {"reason": "Again."})


def _decide(world: World) -> None:
    label = world.rng.choice([{}, {}, LABELS[-1]])
    reply = world.agent.post("decisions", {"task": world.key, "decision": "d", "reasoning": "r", **label})
    if reply.status == 201:
        world.decisions.append(reply.data["id"])


def _change_decision(world: World) -> None:
    if not world.decisions:
        return
    decision = world.decisions.pop(world.rng.randrange(len(world.decisions)))
    if world.rng.random() < 0.5:
        world.agent.post(f"decisions/{decision}/revoke", {"reason": "Wrong."})
        return
    reply = world.agent.post(f"decisions/{decision}/supersede", {"decision": "e", "reasoning": "r"})
    if reply.status == 201:
        world.decisions.append(reply.data["id"])


def _escalate(world: World) -> None:
    reply = world.agent.post("escalations", {"task": world.key, **ASKED})
    if reply.status == 201:
        world.escalations.append(UUID(reply.data["id"]))


def _handle(world: World) -> None:
    """A person claims an escalation, or has; mostly they do something that ends it, or not yet."""
    if not world.escalations:
        return
    made, person = world.rng.choice(world.escalations[-3:]), world.rng.choice(world.people).viewer
    verdict, outcome = world.rng.choice(["respond", "ignore"]), world.rng.choice(["done", "failed"])
    acts: list[Callable[[], Any]] = [
        lambda: claims.release(person, escalation_id=made),
        lambda: answers.decide(person, escalation_id=made, verdict=verdict, message="Yes."),
        lambda: answers.decide(person, escalation_id=made, verdict=verdict, message="Yes.", hand_back=False),
        lambda: answers.hand_back(person, escalation_id=made),
        lambda: answers.finish(person, escalation_id=made, done="Done.", outcome=outcome),
        lambda: answers.cancel(person, escalation_id=made, reason="Over."),
    ]
    for act in (lambda: claims.claim(person, escalation_id=made), world.rng.choice(acts)):
        with suppress(HubError):
            act()


_VERBS = [create, create, claim, claim, claim, end, end, _reopen, _decide, _change_decision, _change_decision]
_VERBS += [_escalate, _escalate, _handle, _handle, _handle]


@contextmanager
def workers_away(owner_sql: Connection) -> Iterator[None]:
    """No worker rolls up a team that is made now: one that other tests started would follow what is moved later."""
    ((function,),) = owner_sql.execute("select pg_get_functiondef('insight_behind'::regproc)").fetchall()
    off = "create or replace function insight_behind() returns setof int language sql as 'select 0 where false'"
    owner_sql.execute(off)
    try:
        yield
    finally:
        owner_sql.execute(function)


def make_world(owner_sql: Connection) -> World:
    """A past in which everything has happened that the roll-up treats in its own way."""
    world = World(owner_sql, random.Random(7))
    world.live(350)
    world.let_clocks_disagree()
    roll_up.catch_up(world.team.id)
    counted = dict(
        owner_sql.execute(
            "select measure, sum(number) from insight_tally where team_id = %s group by 1", [world.team.id]
        ).fetchall()
    )
    wanted = {"completed", "working", "failed", "worked_on", "escalated", "reworked", "claimed", "answered", "respond"}
    assert wanted | {"ignore", "finish", "cancel"} <= counted.keys()
    for what in ("tally_id is null", "tally_id in (select id from insight_tally where next_any < 'infinity')"):
        sql = f"select count(*) from insight_entry where team_id = %s and {what}"
        assert owner_sql.execute(sql, [world.team.id]).fetchall() > [(2,)], what
    return world
