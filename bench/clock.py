"""The clock of ADR 1, measured under Django: the product's own action, in threads, and two readers that follow the
ledger.

One reader resumes by `seq`; the control by an identity column that this measurement adds to its own database. Both
request what is past their cursor, as a feed does. The first must miss nothing; the control must miss events, or the
measurement could not have detected a loss.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from uuid import UUID

import psycopg

from bench.measure import Length, Line, Result, compare, interleave
from bench.p05_writers import SLOW_FLUSH
from bench.seed import Plan, Seeded, seed
from bench.stack import ROOT, Database, Stack

PROCESSES, THREADS = 4, 4
POLL_SECONDS = 0.002
_BY_SEQ = "select seq, event_id from event_seq where team_id = %s and seq > %s order by seq limit 500"
_BY_IDENTITY = "select plain, id from event where team_id = %s and plain > %s order by plain limit 500"


def measure(stack: Stack, length: Length) -> Result:
    """16 writers against one, at this disk's flush and at 1 ms; and the committed events that each reader missed."""
    database = stack.database("clock")
    seeded = seed(stack, database, Plan(agents=1, tasks={"bench": 0}))
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("alter table event add column plain bigint generated always as identity")
        connection.execute("create index on event (team_id, plain)")
    with ExitStack() as ended:
        writers = [ended.enter_context(Writer(database, seeded, "log")) for _ in range(PROCESSES)]
        readers = {
            name: ended.enter_context(_Reader(database, seeded.team, query))
            for name, query in (("seq", _BY_SEQ), ("plain identity", _BY_IDENTITY))
        }
        contenders: dict[str, Callable[[], float]] = {
            "one writer": lambda: write(writers[:1], 1, length.seconds),
            "16 writers": lambda: write(writers, THREADS, length.seconds),
        }
        rounds = interleave(length, contenders)
        stack.flush_takes(SLOW_FLUSH)
        try:
            slow = interleave(Length(2, length.seconds, length.is_long), contenders)
        finally:
            stack.flush_takes(0)
    committed = _committed(database, seeded.team)
    missed = {name: len(committed.keys() - reader.seen.keys()) for name, reader in readers.items()}
    if missed["seq"] or list(readers["seq"].seen) != sorted(committed, key=committed.__getitem__):
        raise RuntimeError(f"the reader by seq missed events, or saw them out of order: {missed} of {len(committed)}")
    if not missed["plain identity"]:
        raise RuntimeError("the control missed nothing, so this measurement proves nothing")
    lines: list[Line] = [
        compare(
            taken,
            "16 writers",
            "one writer",
            target="ADR 1",
            what=f"the action under Django, {flush}",
            unit="writes/s",
            goal=None,
        )
        for taken, flush in ((rounds, "this disk"), (slow, "flush of 1 ms"))
    ]
    facts = {"events": len(committed), "missed": missed, "flush of 1 ms": slow}
    sys.stdout.write(f"clock: missed of {len(committed)} events: {missed}\n")
    return Result("clock", lines, rounds=dict(rounds), facts=facts)


class Writer:
    """A process that writes on command, so that Django's start-up is not measured (bench.clock_writer)."""

    def __init__(self, database: Database, seeded: Seeded, what: str) -> None:
        command = [sys.executable, "-m", "bench.clock_writer", seeded.members[0], what]
        self._process = subprocess.Popen(
            command, env=database.environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Writer":
        if self.hear() != "ready":
            raise RuntimeError("a writer did not start; its output is above")
        return self

    def tell(self, threads: int, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{threads} {seconds}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def write(writers: list[Writer], threads: int, seconds: float) -> float:
    for writer in writers:
        writer.tell(threads, seconds)
    heard = [writer.hear() for writer in writers]
    if not all(heard):
        raise RuntimeError("a writer failed; its output is above")
    return sum(float(text) for text in heard)


class _Reader:
    """Follows the ledger by one cursor, and keeps what it saw, in order."""

    def __init__(self, database: Database, team: int, query: str) -> None:
        self.seen: dict[UUID, None] = {}
        self._team, self._query, self._url = team, query, database.owner_url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "_Reader":
        self._thread.start()
        return self

    def _read(self) -> None:
        cursor = 0
        with psycopg.connect(self._url, autocommit=True) as connection:
            while True:
                is_last = self._done.is_set()
                rows = connection.execute(self._query, [self._team, cursor]).fetchall()
                self.seen.update((event, None) for _, event in rows)
                cursor = rows[-1][0] if rows else cursor
                if is_last and not rows:
                    return
                if not rows:
                    time.sleep(POLL_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _committed(database: Database, team: int) -> dict[UUID, int]:
    with psycopg.connect(database.owner_url) as connection:
        rows: list[tuple[UUID, int]] = connection.execute(
            "select event_id, seq from event_seq where team_id = %s", [team]
        ).fetchall()
    return dict(rows)
