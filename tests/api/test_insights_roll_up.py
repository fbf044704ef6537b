"""The roll-up of the insights: whatever happened, and however far it has followed, the figures are the ledger's."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest
from django.core.management import CommandError
from django.db import DataError, ProgrammingError

from agents.models import Scope
from escalations.actions import answers, claims
from escalations.reports import insights, roll_up
from memoryhub.core.db.statements import run
from memoryhub.core.errors import HubError
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from tests.support.api import Api, at_once, make_api
from tests.support.commands import run as command
from tests.support.factories import make_person, make_team
from tests.support.history import History
from tests.support.ledger import head
from tests.support.servers import Process
from tests.support.timing import wait_until

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


def _create(world: World) -> None:
    key = f"t{len(world.keys)}"
    world.agent.make("tasks", {"key": key, "title": "T", **world.rng.choice(LABELS)})
    world.keys.append(key)


def _claim(world: World) -> None:
    key = world.key
    reply = world.agent.post(f"tasks/{key}/claim")
    if reply.status == 200:
        world.tokens[key] = reply.data["token"]


def _end(world: World) -> None:
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


_VERBS = [_create, _create, _claim, _claim, _claim, _end, _end, _reopen, _decide, _change_decision, _change_decision]
_VERBS += [_escalate, _escalate, _handle, _handle, _handle]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_figures_are_those_of_the_ledger_however_far_it_is_followed(owner_sql: Connection, seed: int) -> None:
    world = World(owner_sql, random.Random(seed))
    world.live(60)
    for _ in range(8):
        world.live(20)
        end = head(world.team.id) - world.rng.randrange(1, 25)
        while world.cursor < end:
            world.follow(world.rng.randint(1, end - world.cursor))
        assert world.differences(10) == 0
    roll_up.catch_up(world.team.id)
    assert world.differences(30) == 0


@pytest.fixture(scope="module")
def world(owner_sql: Connection) -> World:
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


def faults(world: World, part: float) -> int:
    """The differences when this part of the ledger is rolled up, and, where it is all, twice."""
    world.roll_up_again(part)
    if part == 1:
        world.set_cursor(0)
        roll_up.catch_up(world.team.id)
    return world.differences(60)


@pytest.mark.parametrize("part", [1, 0.7])
def test_any_part_of_it_may_be_rolled_up(world: World, part: float) -> None:
    assert faults(world, part) == 0
    for period in (
        "from=0001-01-01T00:00:00Z&to=0001-06-30T00:00:00Z",
        "from=9999-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
    ):
        assert {row["completed"] for row in world.ask(world.readers[-1], f"by=week&{period}")} == {0}


_LABEL = "select task_id, (select min(id) from label where team_id = %(team)s::int) as label, week"
BROKEN: dict[str, tuple[Any, str, str, str]] = {
    "an event that comes twice": (roll_up, "_REMOVE", "where task_id =", "where task_id is null and task_id ="),
    "labels": (roll_up, "_FILE", "select task_id, label, week", _LABEL),
    "events under another label": (roll_up, "_FILE", "where not is_plain", "where false"),
    "a task in several weeks": (insights, "_ROLLED_UP", "then t.next_own", "then 'infinity'"),
    "clocks that disagree": (roll_up, "_FILE", "where next_own < week or next_any < week", "where false"),
    "the first week": (insights, "_ROLLED_UP", "e.id < %(start_last)s", "e.id < %(start_first)s"),
    "the last week": (insights, "_ROLLED_UP", "e.id < %(end_last)s", "e.id < %(end_first)s"),
    "what is newer": (insights, "_ROLLED_UP", "and seq > (", "and seq < 0 and seq > ("),
    "what is rolled up of a task that is newer": (insights, "_ROLLED_UP", "n.task_id not in (", "not exists ("),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_comparison_sees_a_roll_up_that_is_wrong_about(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The controls."""
    module, name, old, new = BROKEN[what]
    text = getattr(module, name)
    assert text.count(old) == 1
    monkeypatch.setattr(module, name, text.replace(old, new))
    assert faults(world, 0.7 if "newer" in what else 1) > 0


def test_workers_at_once_count_everything_once(world: World) -> None:
    world.roll_up_again()
    alone = world.contents()
    world.roll_up_again(0)
    at_once(*[lambda: [roll_up.follow(world.team.id, size=40) for _ in range(30)]] * 4)
    roll_up.catch_up(world.team.id)
    assert world.contents() == alone


def test_a_worker_that_dies_leaves_nothing_half_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.roll_up_again(0.5)
    before = world.contents(), world.cursor
    with monkeypatch.context() as patch:
        patch.setattr(roll_up, "_COUNT", "select 1 / 0")
        with pytest.raises(DataError):
            roll_up.catch_up(world.team.id)
    assert (world.contents(), world.cursor) == before
    roll_up.catch_up(world.team.id)
    assert world.differences(20) == 0


def test_it_is_rebuilt_by_a_command(world: World) -> None:
    world.roll_up_again()
    before = world.contents()
    world.owner_sql.execute("update insight_tally set number = number + 1 where team_id = %s", [world.team.id])
    assert world.differences(20) > 0  # a control: what is made anew is really new
    _, said = command("rebuild_insights", team=world.team.slug)
    assert f"{world.team.slug}: done." in said
    assert world.contents() == before
    with pytest.raises(CommandError, match="no team 'nobody'"):
        command("rebuild_insights", team="nobody")


TABLES = ("insight_tally", "insight_entry", "insight_state")


def test_row_level_security_shows_each_what_their_labels_allow(world: World, app_sql: Connection) -> None:
    world.roll_up_again()
    seen = []
    for reader in world.readers:
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True) as transaction:
            seen.append([run(f"select count(*) from {table}")[0][0] for table in TABLES])
            labels = run("select distinct label_id from insight_tally union select label_id from insight_entry")
            assert {label for (label,) in labels} <= transaction.labels
    public, internal, finance, confidential, everything = ([tallies, entries] for tallies, entries, _ in seen)
    assert [0, 0] < public < internal < finance < everything
    assert internal == confidential  # what is confidential is of finance, too
    assert [state for *_, state in seen] == [1] * len(seen)
    other = make_api(make_team()).agent
    assert other is not None
    with viewer_transaction(other.viewer, read_only=True):
        own = [run(f"select count(*) from {table} where team_id = {world.team.id}") for table in TABLES]
    assert own == [[(0,)]] * len(TABLES)
    assert [app_sql.execute(f"select count(*) from {table}").fetchall() for table in TABLES] == [[(0,)]] * len(TABLES)


_WRITTEN_UP = {
    "insight_tally": """
        insert into insight_tally
          (id, team_id, label_id, week, member_id, measure, next_own, next_any, number, spans)
        values (gen_random_uuid(), %(team)s::int, %(label)s::int, now(), gen_random_uuid(), 'x', 'infinity',
          'infinity', 1, '{}')""",
    "insight_entry": """
        insert into insight_entry (team_id, label_id, task_id)
        values (%(team)s::int, %(label)s::int, gen_random_uuid())""",
}


@pytest.mark.parametrize("table", _WRITTEN_UP)
def test_row_level_security_lets_nobody_change_what_they_do_not_see(world: World, table: str) -> None:
    world.roll_up_again()
    low = world.readers[0].agent
    assert low is not None
    total = f"select count(*), max(label_id) from {table} where team_id = %s"
    ((rows, label),) = world.owner_sql.execute(total, [world.team.id]).fetchall()

    def change() -> None:
        with viewer_transaction(low.viewer):
            for change in (f"update {table} set team_id = team_id", f"delete from {table}"):
                ((changed,),) = run(f"with x as ({change} returning 1) select count(*) from x")
                assert 0 < changed < rows
            run(_WRITTEN_UP[table], {"team": world.team.id, "label": label})

    with pytest.raises(ProgrammingError, match="row-level security"):
        change()
    assert world.owner_sql.execute(total, [world.team.id]).fetchall() == [(rows, label)]


def test_the_worker_rolls_up(worker: Process, owner_sql: Connection) -> None:
    world = World(owner_sql, random.Random(3))
    for _ in range(5):
        for verb in (_create, _claim, _end):
            verb(world)
    wait_until(lambda: world.cursor == head(world.team.id))
    assert world.contents()[0]
    assert world.differences(10) == 0
