"""I1: compare-and-set on facts: versions 1..n without gaps, one writer each, no acknowledged version lost.

Eight agents change four facts over HTTP, by two web processes, each resting its change on the version that it was last
told of; now and then one deletes a fact and somebody makes it anew. Meanwhile web processes, worker and PostgreSQL are
killed. A write without an answer, or with a 5xx, is unknown: it may stand in the history or not, but once. In the end
the history over HTTP must agree with all that anybody was ever told.

Two controls must be caught: a web process that does not compare (updates are lost), and a database that answers before
the write is on disk (what was acknowledged is lost).
"""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.proofs.facts_http import ANSWER_SECONDS, Answer, FactClient, version_of
from tests.proofs.i01_system import POSTGRES, WEB, System, pick

KEYS = 4
DELETES = 0.03
PAUSE = 0.05
LOST_SOON = "create or replace function settle(e uuid) returns bigint language sql volatile security definer"
LOST_SOON += " set search_path = public, pg_temp as 'select s.seq from event_seq s where s.event_id = e'"


@dataclass
class Attempt:
    """One write: of which fact, by whom, on which version it rests (0: on there being none), what came of it."""

    key: str
    value: str | None  # None: a deletion
    seen: int
    made: int | None = None  # the version that was acknowledged
    unknown: bool = False  # it was sent, and has no answer
    cut: bool = False  # since its connection broke


@dataclass
class Told:
    """All that anybody was told. `faults`: what may never be answered."""

    attempts: list[Attempt] = field(default_factory=list)
    shown: list[tuple[str, int, str | None]] = field(default_factory=list)  # key, version, value
    faults: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.made is not None]


class Writer(threading.Thread):
    """An agent that changes facts until it is told to stop."""

    def __init__(self, system: System, key: str, facts: list[str], seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._facts, self._stop_asked = facts, stop
        self._dice = random.Random(seed)
        self._name, self._count = f"{seed}", 0
        self._tags: dict[str, str | None] = {}  # the ETag that was last told; None: there is no fact
        self._clients = {web: FactClient(port, key) for web, port in system.ports.items()}
        self.told = Told()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            fact = self._dice.choice(self._facts)
            web = self._dice.choice(WEB)
            client = self._clients[web]
            try:
                client.connect()
            except OSError:  # nobody listens just now
                time.sleep(PAUSE)
                continue
            if fact not in self._tags:
                self._read(client, fact)
            else:
                self._write(client, fact)

    def _read(self, client: FactClient, fact: str) -> None:
        answer = self._asked(client, partial(client.get, fact))
        if answer is None:
            return
        if answer.status == 200:
            self._see(fact, answer.data, answer.tag)
        elif answer.status == 404:
            self._tags[fact] = None
        elif answer.status < 500:
            self.told.faults.append(f"GET: {answer}")

    def _see(self, fact: str, data: Any, tag: str | None) -> None:
        self._tags[fact] = tag
        self.told.shown.append((fact, data["version"], data["value"]))

    def _write(self, client: FactClient, fact: str) -> None:
        tag = self._tags.pop(fact)
        self._count += 1
        deletes = tag is not None and self._dice.random() < DELETES
        value = None if deletes else f"{self._name}:{self._count}"
        attempt = Attempt(fact, value, version_of(tag) if tag else 0)
        self.told.attempts.append(attempt)
        if deletes and tag:
            answer = self._asked(client, partial(client.delete, fact, tag))
        else:
            answer = self._asked(client, partial(client.put, fact, value, tag))
        if answer is None or answer.status >= 500:
            attempt.unknown, attempt.cut = True, answer is None
        elif answer.status == 204:
            attempt.made = attempt.seen + 1
            self._tags[fact] = None
        elif answer.status in (200, 201):
            attempt.made = version = answer.data["version"]
            self._see(fact, answer.data, answer.tag)
            expected = (201, version) if tag is None else (200, attempt.seen + 1)
            if (answer.status, version) != expected or answer.data["value"] != value:
                self.told.faults.append(f"{attempt} was answered {answer}")
        elif answer.status == 412:
            self._see(fact, answer.data["current"], answer.tag)
            if tag and answer.data["current"]["version"] <= attempt.seen:
                self.told.faults.append(f"{attempt} was refused because of {answer.data['current']}")
        elif answer.status != 404 or tag is None:
            self.told.faults.append(f"{attempt} was answered {answer}")

    def _asked(self, client: FactClient, ask: Callable[[], Answer]) -> Answer | None:
        """The answer; None where the connection broke before there was one."""
        try:
            answer = ask()
        except (OSError, http.client.HTTPException):
            client.close()
            return None
        if answer.status >= 500:
            time.sleep(PAUSE)
        return answer


@dataclass
class Report:
    """What was found. `unknown`: writes without an answer, or with a 5xx; `cut`: those whose connection broke."""

    kills: int
    acknowledged: int
    unknown: int
    cut: int
    faults: list[str]
    lost: list[str]
    by: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.unknown} unknown ({self.cut} cut), {self.kills} kills {self.by},"
            f" {len(self.lost)} lost, {len(self.faults)} faults {[*self.lost, *self.faults][:3]}"
        )


def run(system: System, name: str, *, kills: int, writes: int, seed: int, victims: Iterable[str] = ()) -> Report:
    """At least so many kills and acknowledged writes on facts of this name, then the check. `victims`: in turn."""
    dice, stop = random.Random(seed), threading.Event()
    facts = [f"{name}-{number}" for number in range(KEYS)]
    writers = [Writer(system, key, facts, seed * 100 + number, stop) for number, key in enumerate(system.keys)]
    for writer in writers:
        writer.start()
    fixed, by = list(victims), Counter[str]()
    try:
        while sum(by.values()) < kills or sum(len(writer.told.acknowledged) for writer in writers) < writes:
            time.sleep(dice.uniform(0.3, 1.0))
            if sum(by.values()) < kills:
                victim = fixed[sum(by.values()) % len(fixed)] if fixed else pick(dice)
                system.kill(victim)
                by[victim] += 1
            system.recover()
    finally:
        stop.set()
        for writer in writers:
            writer.join(2 * ANSWER_SECONDS)
    system.recover()
    told = Told()
    for writer in writers:
        told.attempts += writer.told.attempts
        told.shown += writer.told.shown
        told.faults += writer.told.faults
    lost = [fault for fact in facts for fault in check(system, fact, told)]
    return Report(
        kills=sum(by.values()),
        acknowledged=len(told.acknowledged),
        unknown=sum(attempt.unknown for attempt in told.attempts),
        cut=sum(attempt.cut for attempt in told.attempts),
        faults=told.faults,
        lost=lost,
        by=dict(by),
    )


def check(system: System, fact: str, told: Told) -> list[str]:
    """What in a fact's history contradicts what anybody was told, or the ledger."""
    stored = FactClient(system.ports[WEB[0]], system.keys[0]).history(fact)
    versions = sorted(stored)
    faults = [] if versions == list(range(1, len(versions) + 1)) else [f"{fact}: versions are {versions[:5]}…"]
    attempts = [attempt for attempt in told.attempts if attempt.key == fact]
    made = [(attempt.made, attempt) for attempt in attempts if attempt.made is not None]
    faults += [
        f"{attempt} is {stored.get(version, 'nothing')}"
        for version, attempt in made
        if stored.get(version, "nothing") != attempt.value
    ]
    owners = Counter(version for version, _ in made)
    faults += [f"{fact}: version {version} has {count} writers" for version, count in owners.items() if count > 1]
    # Every version has a writer, who did not get another one for it.
    rests = {(attempt.value, attempt.seen) for attempt in attempts if attempt.made is not None or attempt.unknown}
    for version, value in stored.items():
        if (value, version - 1) not in rests and (value, 0) not in rests:
            faults.append(f"{fact}: nobody wrote version {version}, {value}")
    values = Counter(value for value in stored.values() if value is not None)
    faults += [f"{fact}: {value} was written {count} times" for value, count in values.items() if count > 1]
    for key, version, value in told.shown:
        if key == fact and stored.get(version, "nothing") != value:
            faults.append(f"{fact}: version {version} was shown as {value}, and is {stored.get(version, 'nothing')}")
    with system.owner() as owner:
        events = owner.execute(
            "select (e.data->>'version')::int from event e join event_seq s on s.event_id = e.id"
            " where e.row_type = 'fact' and e.data->>'key' = %s order by s.seq",
            [fact],
        ).fetchall()
    if [version for (version,) in events] != versions:
        faults.append(f"{fact}: the ledger has {len(events)} versions in its order, the history {len(versions)}")
    return faults


def run_blind(system: System, writes: int) -> Report:
    """The first control: web processes that do not compare, from now on."""
    system.serve("tests.proofs.i01_control:application")
    return run(system, "blind", kills=0, writes=writes, seed=2)


def run_unsettled(system: System, most: int) -> Report:
    """The second: writes are answered before they are on disk, from now on; PostgreSQL is killed until one is lost."""
    with system.owner() as owner:
        owner.execute(LOST_SOON)
    for number in range(most):
        report = run(system, f"unsettled-{number}", kills=1, writes=1, seed=3 + number, victims=[POSTGRES])
        if report.lost:
            break
    return report
