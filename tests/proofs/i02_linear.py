"""I2: a fact read or refused is linearizable per key (Herlihy and Wing 1990).

Agents read, make, change and delete the same facts at once over HTTP; when each call was begun and answered is kept.
Every answer tells the version that it rests on, and versions are the order of the writes, so a history is linearizable
if no answer goes back behind one that was there before its call was begun. That is tested for every pair of calls.

The control reads through a cache that nobody invalidates.
"""

import random
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

from tests.proofs.facts_http import Answer, FactClient, version_of

CLIENTS = 6
CALLS = 30
FACTS = 2


@dataclass
class Call:
    """One call and its answer. `writes`: it made `version`; else it saw it (None: it saw that there is no fact)."""

    begun: float
    answered: float
    version: int | None
    writes: bool = False
    value: str | None = None
    rests_on: int | None = None  # what a write went by; 0: on there being none

    @property
    def place(self) -> int:
        """In the order of all that happens to the fact: a write, then what sees it, then the next write."""
        assert self.version is not None
        return 2 * self.version + (not self.writes)


@dataclass
class History:
    """What was called on one fact."""

    fact: str
    calls: list[Call] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Cache:
    """The control: answers reads with what was read up to some time ago."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[str, tuple[float, Answer]] = {}

    def get(self, client: FactClient, fact: str) -> Answer:
        """From the cache, while that is young enough."""
        at, answer = self._kept.get(fact, (0.0, None))
        if answer is None or time.perf_counter() - at > self._seconds:
            answer = client.get(fact)
            self._kept[fact] = time.perf_counter(), answer
        return answer


class _Client:
    """An agent with a random plan."""

    def __init__(
        self, client: FactClient, histories: Sequence[History], seed: str, lock: threading.Lock, cache: Cache | None
    ) -> None:
        self._client, self._histories, self._lock, self._cache = client, histories, lock, cache
        self._dice, self._name, self._count = random.Random(seed), seed, 0
        self._tags: dict[str, str | None] = {}

    def run(self, calls: int) -> None:
        """So many calls, one after another."""
        self._client.connect()
        for _ in range(calls):
            history = self._dice.choice(self._histories)
            known = history.fact in self._tags
            if not known or self._dice.random() < 0.4:
                self._read(history)
            else:
                self._write(history)
        self._client.close()

    def _read(self, history: History) -> None:
        begun = time.perf_counter()
        answer = self._cache.get(self._client, history.fact) if self._cache else self._client.get(history.fact)
        self._keep(history, begun, answer, None)

    def _write(self, history: History) -> None:
        tag = self._tags[history.fact]
        self._count += 1
        value = f"{self._name}:{self._count}"
        deletes = tag is not None and self._dice.random() < 0.2
        begun = time.perf_counter()
        if deletes and tag:
            answer = self._client.delete(history.fact, tag)
        else:
            answer = self._client.put(history.fact, value, tag)
        self._keep(history, begun, answer, version_of(tag) if tag else 0, None if deletes else value)

    def _keep(
        self, history: History, begun: float, answer: Answer, rests_on: int | None, value: str | None = None
    ) -> None:
        answered = time.perf_counter()
        call = Call(begun, answered, None, rests_on=rests_on)
        fault = ""
        match answer.status:
            case 200 | 201 if rests_on is not None:
                call.writes, call.version, call.value = True, answer.data["version"], answer.data["value"]
                fault = "wrote something else" if call.value != value else ""
            case 204 if rests_on:
                call.writes, call.version = True, rests_on + 1
            case 200:
                call.version, call.value = answer.data["version"], answer.data["value"]
            case 412 if rests_on is not None:
                call.version, call.value = answer.data["current"]["version"], answer.data["current"]["value"]
                fault = "was refused for what it went by" if call.version == rests_on else ""
            case 404 if rests_on != 0:
                pass
            case _:
                fault = "has no such answer"
        self._tags[history.fact] = None if answer.status in (204, 404) else answer.tag
        with self._lock:
            history.calls.append(call)
            if fault:
                history.faults.append(f"{call} {fault}: {answer}")


def record(
    port: int, keys: Sequence[str], seed: int, *, calls: int = CALLS, cache: Cache | None = None
) -> list[History]:
    """What agents with these keys did to two facts at once."""
    histories = [History(f"i02-{seed}-{number}-{time.time_ns()}") for number in range(FACTS)]
    lock = threading.Lock()
    clients = [
        _Client(FactClient(port, keys[number % len(keys)]), histories, f"{seed}.{number}", lock, cache)
        for number in range(CLIENTS)
    ]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(partial(client.run, calls)) for client in clients]:
            done.result()
    reader = FactClient(port, keys[0])
    for history in histories:
        history.faults += check(history.calls, reader.history(history.fact))
    reader.close()
    return histories


def check(calls: Sequence[Call], stored: dict[int, str | None]) -> list[str]:
    """All that shows that the calls happened in no one order of the versions. `stored`: the versions in the end."""
    faults = []
    written = {call.version: call for call in calls if call.writes}
    if sorted(stored) != list(range(1, len(stored) + 1)) or written.keys() != stored.keys():
        faults.append(f"{len(written)} versions were written, and {sorted(stored)} are stored")
    if len(written) != sum(call.writes for call in calls):
        faults.append("a version has two writers")
    absent = [0, *sorted(version for version, value in stored.items() if value is None)]
    for call in calls:
        if call.version is None:
            continue
        if stored.get(call.version, call) != call.value:
            faults.append(f"{call}, and it is {stored.get(call.version)}")
        if call.writes and call.version - 1 not in ([call.rests_on] if call.rests_on else absent):
            faults.append(f"{call} was written over another version")
    return faults + _out_of_order(calls, absent)


def _out_of_order(calls: Sequence[Call], absent: list[int]) -> list[str]:
    """Calls whose answer goes back behind one that was there before they were begun.

    One that saw no fact is taken to have seen the first deletion that it may have seen: a later one would only leave
    less room for what comes after.
    """
    for call in sorted(calls, key=lambda call: call.begun):
        if call.version is None:
            behind = max(
                (
                    2 * other.version + (not other.writes)
                    for other in calls
                    if other.answered < call.begun and other.version is not None
                ),
                default=0,
            )
            call.version = next((version for version in absent if 2 * version + 1 >= behind), absent[-1])
    ends = sorted(calls, key=lambda call: call.answered)
    times = [call.answered for call in ends]
    highest = list(accumulate((call.place for call in ends), max))
    faults = []
    for call in calls:
        before = bisect_left(times, call.begun)
        limit = highest[before - 1] if before else 0
        if call.place < limit or (call.writes and call.place == limit):
            faults.append(f"{call} was begun when {limit} had been told")
    return faults


def known_history(*calls: tuple[float, float, str, Any]) -> list[Call]:
    """Calls written down by hand: begun, answered, `write` / `see` / `none`, version."""
    made = []
    for begun, answered, what, version in calls:
        writes = what == "write"
        made.append(
            Call(
                begun,
                answered,
                version,
                writes=writes,
                value=None if version is None else f"v{version}",
                rests_on=version - 1 if writes else None,
            )
        )
    return made
