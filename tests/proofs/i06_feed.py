"""I6: every committed change reaches every subscriber that may see it, in commit order; a resume fills the gaps.

Writers of many labels, some made meanwhile, commit side by side, some slowly. Browsers' sockets and agents' streams
read, are cut at random and resume by `seq`; agents' long polls go on from `next`, some given up while they wait. Valkey
cuts the doorbell again and again. The control reads the same ledger by its time-ordered ids, as one would without a
clock, and must lose events: ids become visible out of commit order.
"""

import contextlib
import os
import random
import socket as sockets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import orjson
import psycopg
import redis
from django.db import connection
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.actions import observations, tasks
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.desk_socket import open_socket
from tests.support.factories import Person, TestAgent, make_agent, make_person, make_team
from tests.support.signing_in import sign_in
from tests.support.streams import Reader

# Of the last, labels of ever new words are made while everybody reads (ADR 2).
WORDS = [f"w{number}" for number in range(15)]
LABELS: list[tuple[int, list[str]]] = [(0, []), (1, []), (2, ["finance", *WORDS])]
WRITERS = 8
READERS = 4  # of each label: two sockets, a stream, a long poll
MOST_BEHIND = 4_000  # events


@dataclass
class Heard:
    """What one subscriber was sent."""

    who: Person | TestAgent
    read: Callable[["Heard", threading.Event, int], None]
    seqs: list[int] = field(default_factory=list)
    disorder: int = 0
    resyncs: int = 0
    cuts: int = 0


@dataclass
class Result:
    """What the harness saw."""

    events: int
    lost: int
    foreign: int
    disorder: int
    resyncs: int
    cuts: int
    bells_cut: int
    control_lost: int


@override_settings(LABELS_PER_MEMBER=100_000)  # the writers make ever new ones
def run(url: str, events: int, *, seed: int = 1) -> Result:
    """Write `events` observations and compare what everybody was sent with the ledger."""
    team = make_team("i06")
    agent = make_agent(team, clearance=2, compartments=LABELS[2][1]).viewer
    task, _ = tasks.create(
        agent, item=NewTask(key="i06", title="Everything reaches everybody", sensitivity=0, compartments=[])
    )
    over, stop = threading.Event(), threading.Event()
    heard = []
    for level, words in LABELS:
        heard += [
            Heard(make_person(team, clearance=level, compartments=words), partial(_subscribe, url, team, task.id)),
            Heard(make_person(team, clearance=level, compartments=words), partial(_subscribe, url, team, task.id)),
            Heard(make_agent(team, level, words), partial(_stream, url)),
            Heard(make_agent(team, level, words), partial(_poll, url)),
        ]
    readers = [threading.Thread(target=one.read, args=(one, over, seed)) for one in heard]
    cutter = _Cutter(stop)
    control = _PlainIds(team.id, stop)
    for thread in (*readers, cutter, control):
        thread.start()

    writers = [
        threading.Thread(
            target=_write, args=(agent, task, events // WRITERS, random.Random(seed * 100 + number), heard)
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = _expected(team.id)
    stop.set()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and any(
        set(one.seqs) != set(expected[index // READERS]) for index, one in enumerate(heard)
    ):
        time.sleep(0.1)
    over.set()
    for thread in (*readers, cutter, control):
        thread.join()
    return Result(
        events=len(expected[2]),
        lost=sum(len(set(expected[index // READERS]) - set(one.seqs)) for index, one in enumerate(heard)),
        foreign=sum(len(set(one.seqs) - set(expected[index // READERS])) for index, one in enumerate(heard)),
        disorder=sum(one.disorder for one in heard),
        resyncs=sum(one.resyncs for one in heard),
        cuts=sum(one.cuts for one in heard),
        bells_cut=cutter.cut,
        control_lost=len(set(control.all_ids()) - set(control.seen)),
    )


def _write(agent: Any, task: Any, count: int, dice: random.Random, heard: list[Heard]) -> None:
    try:
        for number in range(count):
            # Who falls 10,000 events behind is told to start afresh (I8): so the writers wait for the last.
            while number * WRITERS - min(one.seqs[-1] if one.seqs else 0 for one in heard) > MOST_BEHIND:
                time.sleep(0.05)
            level, words = LABELS[dice.randrange(3)]
            words = dice.sample(words, k=min(3, len(words)))
            item = NewObservation(content=f"event {number}", task=task.key, sensitivity=level, compartments=words)
            with viewer_transaction(agent):
                observations.log(agent, item=item)
                if dice.random() < 0.02:
                    time.sleep(dice.random() * 0.05)  # made early, committed late
    finally:
        connection.close()


def _subscribe(url: str, team: Team, task: UUID, heard: Heard, over: threading.Event, seed: int) -> None:
    assert isinstance(heard.who, Person)
    dice = random.Random(f"{seed}{heard.who.name}")
    session, last = sign_in(heard.who), 0
    connection.close()
    while not over.is_set():
        with open_socket(url, team.slug, session) as socket:
            socket.send(orjson.dumps({"after": last, "task": str(task)}).decode())
            left = dice.randrange(50, 1500)
            while left and not over.is_set():
                try:
                    frame = orjson.loads(socket.recv(timeout=0.2))
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    break
                heard.resyncs += frame["type"] == "resync"
                if frame["type"] == "event" and frame["event"] == "observation.log":
                    heard.seqs.append(frame["seq"])
                    heard.disorder += frame["seq"] <= last
                    last = frame["seq"]
                    left -= 1
            heard.cuts += not over.is_set()
            # The connection breaks; a polite client would first wait for what is on its way.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sockets.SHUT_RDWR)


def _stream(url: str, heard: Heard, over: threading.Event, seed: int) -> None:
    assert isinstance(heard.who, TestAgent)
    dice = random.Random(f"{seed}{heard.who.name}")
    last = 0
    with httpx2.Client(base_url=url, headers=heard.who.headers, timeout=1) as client:
        while not over.is_set():
            left = dice.randrange(50, 1500)
            # The broken connection takes with it what is on its way.
            with (
                contextlib.suppress(httpx2.TransportError, StopIteration),
                client.stream("GET", "/api/v1/feed/stream", headers={"Last-Event-ID": str(last)}) as reply,
            ):
                heard.resyncs += reply.status_code == 410
                reader = Reader(reply, last)
                while left and not over.is_set():
                    message = reader.message()
                    if message.event == "observation.log":
                        heard.seqs.append(message.data["seq"])
                        heard.disorder += message.data["seq"] <= last
                        left -= 1
                    last = reader.last or last
            heard.cuts += not over.is_set()


def _poll(url: str, heard: Heard, over: threading.Event, seed: int) -> None:
    assert isinstance(heard.who, TestAgent)
    dice = random.Random(f"{seed}{heard.who.name}")
    last = 0
    with httpx2.Client(base_url=url, headers=heard.who.headers, timeout=10) as client:
        while not over.is_set():
            patience = 0.05 if dice.random() < 0.02 else 10
            try:
                reply = client.get(f"/api/v1/feed?after={last}&wait=1&limit=100", timeout=patience)
            except httpx2.TransportError:
                heard.cuts += 1
                continue
            if reply.status_code == 503:  # too busy to say
                heard.cuts += 1
                over.wait(0.2)
                continue
            heard.resyncs += reply.status_code == 410
            page = reply.raise_for_status().json()
            seqs = [event["seq"] for event in page["events"]]
            heard.disorder += seqs != sorted(set(seqs)) or bool(seqs and not last < seqs[0] <= seqs[-1] <= page["next"])
            heard.seqs += [event["seq"] for event in page["events"] if event["type"] == "observation.log"]
            last = page["next"]


def _expected(team: int) -> list[list[int]]:
    """The `seq`s that a reader of each label is to be sent."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        return [
            [
                seq
                for (seq,) in owner.execute(
                    "select s.seq from event_seq s join event e on e.id = s.event_id join label l on l.id = e.label_id"
                    " where s.team_id = %s and e.type = 'observation.log' and l.sensitivity <= %s order by s.seq",
                    [team, level],
                )
            ]
            for level, _ in LABELS
        ]


class _Cutter(threading.Thread):
    """Cuts the doorbell's connections to Valkey, so that bells are lost."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop, self.cut = stop, 0

    def run(self) -> None:
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            while not self.stop.wait(0.7):
                self.cut += int(client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))  # type: ignore[no-untyped-call]


class _PlainIds(threading.Thread):
    """The control: reads on from the greatest id that it has seen."""

    def __init__(self, team: int, stop: threading.Event) -> None:
        super().__init__()
        self.team, self.stop = team, stop
        self.seen: list[UUID] = []

    def run(self) -> None:
        last = UUID(int=0)
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
            while True:
                rows = owner.execute(
                    "select id from event where team_id = %s and id > %s order by id", [self.team, last]
                )
                found = [row[0] for row in rows]
                self.seen += found
                last = found[-1] if found else last
                if self.stop.is_set() and not found:
                    return
                time.sleep(0.002)

    def all_ids(self) -> list[UUID]:
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
            return [row[0] for row in owner.execute("select id from event where team_id = %s", [self.team])]
