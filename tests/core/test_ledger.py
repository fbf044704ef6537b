"""The ledger's clock: dense, in commit order, on disk before anything is answered; an event per label, no content."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection

from memoryhub.core import transactions, wake
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.actions import memberships
from memoryhub.core.ids import new_id
from memoryhub.core.ledger.events import append
from memoryhub.core.models import Event, EventSeq, Outbox, Sensitivity
from memoryhub.core.transactions import viewer_transaction, wait_durable
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import observations
from memoryhub.memory.models import Observation
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import answered, make_task, make_trial

Connection = psycopg.Connection[Any]
WRITERS, EACH = 8, 25


@dataclass
class Reader:
    """Follows a ledger as a subscriber does: asks for what comes after the last it has had, and never looks back."""

    statement: str
    team: int
    last: Any
    found: list[UUID] = field(default_factory=list)

    def read(self, owner: Connection) -> None:
        for cursor, event in owner.execute(self.statement, {"team": self.team, "last": self.last}).fetchall():
            self.last = cursor
            self.found.append(event)


BY_SEQ = "select seq, event_id from event_seq where team_id = %(team)s and seq > %(last)s order by seq"
BY_ID = "select id, id from event where team_id = %(team)s and id > %(last)s order by id"
BY_NUMBER = "select n, event_id from plain_number where team_id = %(team)s and n > %(last)s order by n"


@pytest.fixture
def plain_number(owner_sql: Connection) -> Iterator[None]:
    """The control's clock: an identity column, which counts when a row is written and not when it is committed."""
    owner_sql.execute(
        "create table plain_number (n bigint generated always as identity primary key, team_id int, event_id uuid);"
        " grant insert on plain_number to public"
    )
    yield
    owner_sql.execute("drop table plain_number")


def write(viewer: Viewer, pause: float, *, fail: bool = False) -> tuple[UUID, int]:
    """One transaction with an event, which the client takes its time to commit."""
    with viewer_transaction(viewer) as transaction:
        label = ensure_label(viewer, Sensitivity.INTERNAL)
        event = append(viewer, "trial.happen", label=label.id, row_type="trial", row_id=new_id())
        with connection.cursor() as cursor:
            cursor.execute("insert into plain_number (team_id, event_id) values (%s, %s)", [viewer.team, event])
        time.sleep(pause)
        if fail:
            raise ZeroDivisionError
    assert transaction.seq is not None
    return event, transaction.seq


@dataclass(frozen=True)
class Acknowledged:
    event: UUID
    seq: int
    begun: float
    answered: float


def writer(viewer: Viewer, seed: int) -> list[Acknowledged]:
    """A writer's acknowledged events. Some transactions are slow, some fail."""
    dice, made = random.Random(seed), []
    for _ in range(EACH):
        begun = time.monotonic()
        slow = dice.random() < 0.2
        try:
            event, seq = write(viewer, 0.03 if slow else 0, fail=dice.random() < 0.1)
        except ZeroDivisionError:
            continue
        made.append(Acknowledged(event, seq, begun, time.monotonic()))
    connection.close()
    return made


@pytest.mark.usefixtures("plain_number")
def test_seq_is_dense_in_commit_order_and_loses_nothing(owner_sql: Connection) -> None:
    viewer = make_agent(make_team()).viewer
    (first,) = owner_sql.execute("select max(seq) from event_seq where team_id = %s", [viewer.team]).fetchone() or (0,)
    reader = Reader(BY_SEQ, viewer.team, first)
    by_id, by_number = Reader(BY_ID, viewer.team, new_id()), Reader(BY_NUMBER, viewer.team, 0)
    ended = threading.Event()

    def follow() -> None:
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            last_round = False
            while not last_round:
                last_round = ended.is_set()
                for follower in (reader, by_id, by_number):
                    follower.read(owner)
                time.sleep(0.002)

    following = threading.Thread(target=follow)
    following.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        made = [one for found in pool.map(writer, [viewer] * WRITERS, range(WRITERS)) for one in found]
    ended.set()
    following.join()

    made.sort(key=lambda one: one.seq)
    assert [one.seq for one in made] == list(range(first + 1, first + 1 + len(made)))  # dense, though some failed
    assert reader.found == [one.event for one in made]  # nothing lost, nothing twice, in the clock's order
    newest_begin = 0.0
    for one in made:  # what was answered before another began has the smaller number
        assert newest_begin <= one.answered
        newest_begin = max(newest_begin, one.begun)
    # The controls: readers that resume by a number given before COMMIT lose what is committed late.
    everything = {one.event for one in made}
    assert everything - set(by_id.found), "UUIDv7 as a cursor lost nothing: the test is too gentle"
    assert everything - set(by_number.found), "a plain identity as a cursor lost nothing: the test is too gentle"


def test_a_late_commit_comes_later(owner_sql: Connection) -> None:
    """The same in slow motion: begun first, committed last."""
    viewer = make_agent(make_team()).viewer
    begun, go_on = threading.Event(), threading.Event()
    events: dict[str, UUID] = {}

    def late() -> None:
        with viewer_transaction(viewer):
            label = ensure_label(viewer, Sensitivity.INTERNAL)
            events["late"] = append(viewer, "trial.late", label=label.id, row_type="trial", row_id=None)
            begun.set()
            go_on.wait(10)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    assert begun.wait(10)
    with viewer_transaction(viewer) as quick:
        label = ensure_label(viewer, Sensitivity.INTERNAL)
        events["quick"] = append(viewer, "trial.quick", label=label.id, row_type="trial", row_id=None)
    go_on.set()
    thread.join()
    assert events["late"] < events["quick"]
    assert owner_sql.execute(BY_ID, {"team": viewer.team, "last": events["quick"]}).fetchall() == []  # the control
    later = owner_sql.execute(BY_SEQ, {"team": viewer.team, "last": quick.seq}).fetchall()
    assert later == [((quick.seq or 0) + 1, events["late"])]


def make_impatient(viewer: Viewer) -> None:
    """Write an event, waiting 200 ms for a lock at most."""
    with viewer_transaction(viewer):
        with connection.cursor() as cursor:
            cursor.execute("set local lock_timeout = '200ms'")  # a statement's timeout does not reach into COMMIT
        label = ensure_label(viewer, Sensitivity.INTERNAL)
        append(viewer, "trial.happen", label=label.id, row_type="trial", row_id=None)


def test_teams_do_not_wait_for_each_other() -> None:
    one, other = make_agent(make_team()).viewer, make_agent(make_team()).viewer
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as holder:
        holder.execute("select pg_advisory_xact_lock(7077, %s)", [one.team])
        make_impatient(other)
        with pytest.raises(OperationalError, match="lock timeout"):  # the control
            make_impatient(one)
    make_impatient(one)


def test_an_event_for_each_label_of_a_batch() -> None:
    viewer = make_agent(make_team(), Sensitivity.CONFIDENTIAL, ["pii"]).viewer
    task = make_task(viewer)
    items = [NewObservation(content=str(number), task=task.key) for number in range(3)]
    items += [
        NewObservation(content="c", sensitivity="confidential"),
        NewObservation(content="d", sensitivity="confidential"),
    ]
    items += [NewObservation(content="e", compartments=["pii"]), NewObservation(content="f", private=True)]
    with viewer_transaction(viewer) as transaction:
        logged = observations.log_batch(viewer, items=items)
    ids = [one.id for one in logged if isinstance(one, observations.Logged)]
    with viewer_transaction(viewer, read_only=True):
        found = Observation.objects.filter(id__in=ids)
        rows = list(found.values_list("label_id", "private", "clock_id", "clock__seq"))
        events = {event.id: event for event in Event.objects.filter(type="observation.log")}
    groups = {(label, private) for label, private, _, _ in rows}
    assert len(rows) == 7
    assert len(events) == len(groups) == 4
    assert transaction.seq == max(seq for *_, seq in rows)
    for label, private, event, _ in rows:
        assert events[event].label_id == label
        assert events[event].audience_id == (viewer.membership if private else None)
    assert sorted(event.data.get("count", 1) for event in events.values()) == [1, 1, 2, 3]


def test_an_event_tells_no_content(owner_sql: Connection) -> None:
    trial = make_trial()
    answered(trial.agent.viewer, trial.high.viewer, word="xyzzy")
    everything = "select count(*) from event where team_id = %s and event::text like %s"
    assert owner_sql.execute(everything, [trial.team.id, "%xyzzy%"]).fetchone() == (0,)
    assert owner_sql.execute(everything, [trial.team.id, "%observation.log%"]).fetchone() == (3,)  # the control
    told = "select count(*) from observation where team_id = %s and body::text like %s"
    assert owner_sql.execute(told, [trial.team.id, "%xyzzy%"]).fetchone() == (1,)


def test_what_follows_from_an_event_is_beside_it() -> None:
    """config.reactions: the outbox row is written in the event's transaction, under the request's id."""
    person = make_person(make_team())
    memberships.change(
        system_viewer(person.viewer.team),
        member=person.membership,
        role="reader",
        clearance=0,
        compartments=[],
        is_active=True,
    )
    (job,) = Outbox.objects.filter(row_id=person.membership.id)
    assert job.handler == "claims.release_of_member"
    assert job.team_id == person.viewer.team


def lsn(function: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"select {function}() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


def test_nothing_is_announced_before_it_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_agent(make_team()).viewer
    unflushed, late = [], []

    def watched(event: UUID) -> int:
        committed = lsn("pg_current_wal_insert_lsn")
        unflushed.append(committed - lsn("pg_current_wal_flush_lsn"))
        seq = wait_durable(event)
        late.append(committed - lsn("pg_current_wal_flush_lsn"))
        return seq

    monkeypatch.setattr(transactions, "wait_durable", watched)
    for _ in range(50):
        make_task(viewer)
    assert max(late) <= 0
    assert max(unflushed) > 0  # the control: COMMIT alone had not waited for the disk


def test_settle_answers_only_for_what_is_committed() -> None:
    with pytest.raises(RuntimeError, match="was not committed"):
        wait_durable(new_id())


def test_the_clock_is_not_written_by_hand() -> None:
    """`seq` cannot be chosen: an event's number is there at COMMIT, not before."""
    viewer = make_agent(make_team()).viewer
    with viewer_transaction(viewer):
        label = ensure_label(viewer, Sensitivity.INTERNAL)
        event = append(viewer, "trial.happen", label=label.id, row_type="trial", row_id=None)
        assert not EventSeq.objects.filter(event_id=event).exists()
    with viewer_transaction(viewer, read_only=True):
        assert EventSeq.objects.filter(event_id=event).count() == 1


def test_bells_carry_the_team_and_the_number_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[Callable[..., None] | tuple[Any, ...]] = []
    monkeypatch.setattr(wake, "ring", lambda *words, **named: rung.append((*words, *named.items())))
    viewer = make_agent(make_team()).viewer
    make_task(viewer, Sensitivity.INTERNAL)
    with viewer_transaction(viewer, read_only=True):
        assert rung[-1] == (viewer.team, EventSeq.objects.latest("seq").seq)
