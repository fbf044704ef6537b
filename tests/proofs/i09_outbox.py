"""I9: no work is lost between commit and broker, whatever dies; all is handled within 30 s of recovery, once.

A system of its own (database, corner of Valkey, worker, beat) handles jobs that a producer commits, while its worker is
killed and its broker is cut off or hangs. The control is a time without the sweeper, in which some jobs remain.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from memoryhub.run import embedded, processes
from memoryhub.run.launch import beat_command, worker_command
from tests.proofs.flaky_proxy import Gate
from tests.support.servers import ROOT, drop_database

FAULTS = ("kill", "shut", "stick", "kill and shut")
JOBS = 16


@dataclass
class System:
    """The processes under test, which are started again when they die, as the product's launcher does."""

    environment: dict[str, str]
    commands: dict[str, list[str]]
    gate: Gate
    owner: psycopg.Connection[Any]
    producer: subprocess.Popen[str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def watch(self) -> None:
        """Start what is missing."""
        for name, command in self.commands.items():
            if name not in self.running or self.running[name].poll() is not None:
                log = Path(self.environment["MEMORYHUB_DATA"]) / "log" / f"i09-{name}.log"
                with log.open("ab") as words:
                    self.running[name] = subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=words,
                        stderr=words,
                        start_new_session=True,
                    )

    def kill(self, name: str) -> None:
        """kill -9, in the middle of whatever it does."""
        self.running[name].kill()
        self.running[name].wait()

    def end(self) -> None:
        for process in [*self.running.values(), self.producer]:
            process.kill()
            process.wait()

    def order(self, jobs: int) -> None:
        """Ask the producer for jobs; receive() tells which they are."""
        assert self.producer.stdin is not None
        self.producer.stdin.write(f"{jobs}\n")
        self.producer.stdin.flush()

    def receive(self) -> list[str]:
        """The rows of the jobs that are acknowledged now."""
        assert self.producer.stdout is not None
        rows: list[str] = json.loads(self.producer.stdout.readline())
        return rows

    def marks(self, rows: list[str]) -> dict[str, int]:
        """How often each row's job was done."""
        found = self.owner.execute(
            "select row_id::text, count(*) from event"
            " where type = 'trial.mark' and row_id = any (%s::uuid[]) group by 1",
            [rows],
        )
        return dict(found.fetchall())

    def held(self) -> int:
        """Jobs that a worker has taken and not finished."""
        row = self.owner.execute("select count(*) from outbox where done_at is null and claimed_until is not null")
        return int((row.fetchone() or (0,))[0])

    def wait_until_held(self) -> None:
        """Until a worker has taken a job, at most ten seconds."""
        deadline = time.monotonic() + 10
        while not self.held() and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_for(self, rows: list[str], seconds: float) -> float:
        """How long it takes until all are done. Raises AssertionError with the number missing when it takes longer."""
        begun = time.monotonic()
        while True:
            self.watch()
            missing = len(rows) - len(self.marks(rows))
            waited = time.monotonic() - begun
            if not missing:
                return waited
            assert waited < seconds, f"{missing} of {len(rows)} jobs are not handled after {waited:.0f} s"
            time.sleep(0.1)


@contextmanager
def system(name: str) -> Iterator[System]:
    """A worker and a beat, not yet started, on a database of their own, with a gate in front of Valkey."""
    redis_url = urlsplit(os.environ["REDIS_URL"])
    assert redis_url.port is not None
    gate = Gate(redis_url.port)
    address = redis_url._replace(netloc=redis_url.netloc.replace(f":{redis_url.port}", f":{gate.port}"))
    urls = {variable: urlsplit(os.environ[variable]) for variable in ("DATABASE_URL", "DATABASE_OWNER_URL")}
    database = f"{urls['DATABASE_URL'].path.strip('/')}_{name}"
    data = Path(os.environ["MEMORYHUB_DATA"])
    environment = {
        **os.environ,
        **{variable: urlunsplit(url._replace(path=f"/{database}")) for variable, url in urls.items()},
        "REDIS_URL": urlunsplit(address),
        "REDIS_PREFIX": database,
        processes.MARK: str(data),
    }
    schedule = data / database
    schedule.mkdir(exist_ok=True)
    commands = {"worker": worker_command(), "beat": beat_command(schedule)}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname="postgres", autocommit=True) as admin:
        admin.execute(f"create database {database} template {embedded.DATABASE}")
        producer = subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.i09_producer"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with psycopg.connect(environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
            made = System(environment, commands, gate, owner, producer)
            try:
                yield made
            finally:
                made.end()
                gate.close()
        drop_database(admin, database)


@dataclass
class Report:
    """What was seen. `struck`: jobs in a killed worker's hands; `refused`: connections that a shut gate refused.

    `remained`: jobs not done while the broker was there again and no sweeper ran (the control); `healed`: how long it
    took from its start until they were.
    """

    remained: int = 0
    healed: float = 0
    slowest: float = 0
    jobs: int = 0
    struck: int = 0
    refused: int = 0
    double: int = 0


def run(rounds: int, seed: int) -> Report:
    """First the control; then so many rounds: jobs are committed, a fault strikes, and all are handled in the end."""
    dice, report = random.Random(seed), Report()
    with system("i09") as under_test:
        rows = _without_sweeper(under_test, report)
        everything = list(rows)
        for number in range(rounds):
            fault = FAULTS[number % len(FAULTS)]
            under_test.order(JOBS)
            if "kill" in fault and not report.struck:
                under_test.wait_until_held()  # on a machine of any speed one kill strikes
            else:
                time.sleep(dice.uniform(0.3, 1.3))
            if "kill" in fault:
                report.struck += under_test.held()
                under_test.kill("worker")
            if "shut" in fault:
                under_test.gate.shut()
            if fault == "stick":
                under_test.gate.stick()
            rows = under_test.receive()  # the producer is answered all the same
            time.sleep(dice.uniform(0.5, 2))
            under_test.gate.open()
            everything += rows
            report.slowest = max(report.slowest, under_test.wait_for(rows, 60))
        report.jobs, report.refused = len(everything), under_test.gate.refused
        report.double = sum(count > 1 for count in under_test.marks(everything).values())
    return report


def _without_sweeper(under_test: System, report: Report) -> list[str]:
    sweeper = under_test.commands.pop("beat")
    under_test.order(2)
    first = under_test.receive()
    under_test.wait_for(first[:1], 60)  # the worker has started: it was woken, nobody swept
    under_test.gate.shut()
    under_test.order(JOBS)
    rows = under_test.receive()
    under_test.gate.open()
    time.sleep(3)
    report.remained = len(rows) - len(under_test.marks(rows))
    under_test.commands["beat"] = sweeper
    report.healed = under_test.wait_for([*first, *rows], 60)
    return rows
