"""P5: 16 concurrent writers in one team and one writer, with the ledger and without, in the database only."""

from collections.abc import Callable
from pathlib import Path

import psycopg

from bench import pgbench
from bench.measure import Length, Result, compare, interleave
from bench.record import record
from bench.seed import Plan, seed
from bench.stack import Database, Stack

WRITERS = 16
SLOW_FLUSH = 1000  # microseconds


def measure(stack: Stack, length: Length) -> Result:
    """Goals: 16 writers at least 2.5 times one; at least 0.6 times the same writes without a ledger.

    The goals apply to this machine's disk; the same with a flush of 1 ms is recorded beside them.
    """
    database = stack.database("p5")
    seeded = seed(stack, database, Plan(agents=1, tasks={"bench": 0}))
    scripts = {}
    for name in ("ledger", "none"):
        path = scripts[name] = stack.data / f"p5-{name}.sql"
        path.write_text(record(stack, database, seeded.members[0], ledger=name == "ledger"))
    contenders = {
        f"{name} {writers}": _writing(database, script, writers, length)
        for name, script in scripts.items()
        for writers in (1, WRITERS)
    }
    rounds = interleave(length, contenders)
    stack.flush_takes(SLOW_FLUSH)
    try:
        slow = interleave(Length(2, length.seconds, length.is_long), contenders)
    finally:
        stack.flush_takes(0)
    lines = [
        compare(
            rounds,
            f"ledger {WRITERS}",
            "ledger 1",
            target="P5",
            what="16 writers of one team, against one",
            unit="writes/s",
            goal=2.5,
        ),
        compare(
            rounds,
            f"ledger {WRITERS}",
            f"none {WRITERS}",
            target="P5",
            what="16 writers, against no ledger",
            unit="writes/s",
            goal=0.6,
        ),
    ]
    return Result("p5", lines, rounds=dict(rounds), facts={"flush of 1 ms": slow, "seq": _check(database, seeded.team)})


def _writing(database: Database, script: Path, writers: int, length: Length) -> Callable[[], float]:
    return lambda: pgbench.rate(database.app_url, script, writers=writers, seconds=length.seconds)


def _check(database: Database, team: int) -> dict[str, int]:
    """Check that the measured writes were numbered without a gap. Raises RuntimeError otherwise."""
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute(
            "select (select count(*) from event where team_id = %(team)s), count(*), max(seq) from event_seq"
            " where team_id = %(team)s",
            {"team": team},
        ).fetchone()
    assert row is not None
    if len(set(row)) != 1:
        raise RuntimeError(f"events, numbered and highest seq should be equal, but are {row}")
    return {"events": row[0], "highest": row[2]}
