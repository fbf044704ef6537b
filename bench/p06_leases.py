"""P6: lease claims, 16 clients against one: over HTTP through the product, and by the action itself.

Each takes the next of 100,000 free tasks, as agents that share a queue do. Over HTTP one web process on one core
answers all; the action runs in four processes of four threads, and in one thread.
"""

from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from bench import load
from bench.baselines import serving
from bench.clock import PROCESSES, THREADS, Writer, write
from bench.load import Job, encode
from bench.measure import Length, Line, Result, compare, interleave
from bench.seed import Plan, seed
from bench.stack import Database, Stack, free_port

CLIENTS = 16
FREE = 100_000
# Copies of the first task; made as the owner, since only the claims are measured.
_FILL = """
insert into task (id, team_id, label_id, sensitivity, body, author_id, event_id, key, status, version, text_version,
                  reopen_count, token, human_owned)
select uuidv7(), team_id, label_id, sensitivity, body, author_id, event_id, key || '-' || n, 'open', 1, 1, 0, 0, false
from task, generate_series(1, %s) n where key = 'bench'
"""
# Frees all tasks between the rounds, so that each starts as the first did.
_FREE = "update task set holder_id = null, lease_expires_at = null, status = 'open' where holder_id is not null"


def measure(stack: Stack, length: Length) -> Result:
    """Goal: 16 clients at least 2.2 times one."""
    database = stack.database("p6")
    seeded = seed(stack, database, Plan(agents=CLIENTS, tasks={"bench": 0}))
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(_FILL, [FREE])
        connection.execute("vacuum analyze")
    port = free_port()
    server = stack.serve(serving.product(port), database.environment, port)
    requests = [
        encode("POST", "/api/v1/tasks/claim-next", port, key, {"ttl_seconds": 3600}).hex() for key in seeded.keys
    ]
    load.run(Job(port, requests, 200, CLIENTS, seconds=4.0))  # warm-up: connections, plans, caches
    with ExitStack() as ended:
        writers = [ended.enter_context(Writer(database, seeded, "claim")) for _ in range(PROCESSES)]
        contenders = {
            "HTTP 1": _from_the_start(database, lambda: _load(port, requests, 1, length)),
            "HTTP 16": _from_the_start(database, lambda: _load(port, requests, CLIENTS, length)),
            "action 1": _from_the_start(database, lambda: write(writers[:1], 1, length.seconds)),
            "action 16": _from_the_start(database, lambda: write(writers, THREADS, length.seconds)),
        }
        rounds = interleave(length, contenders)
    stack.end(server)
    lines: list[Line] = [
        compare(
            rounds,
            f"{where} {CLIENTS}",
            f"{where} 1",
            target="P6",
            what=f"lease claims, 16 clients against one, {how}",
            unit="claims/s",
            goal=2.2,
        )
        for where, how in (("HTTP", "over HTTP, one web process"), ("action", "the action itself"))
    ]
    return Result("p6", lines, rounds=dict(rounds), facts=_check(database))


def _load(port: int, requests: list[str], clients: int, length: Length) -> float:
    return load.run(Job(port, requests, 200, clients, seconds=length.seconds)).rate


def _from_the_start(database: Database, claim: Callable[[], float]) -> Callable[[], float]:
    """With every task free again."""

    def measured() -> float:
        with psycopg.connect(database.owner_url, autocommit=True) as connection:
            connection.execute(_FREE)
            connection.execute("vacuum analyze task")
        return claim()

    return measured


def _check(database: Database) -> dict[str, int]:
    """Check that no token was issued twice. Raises RuntimeError otherwise."""
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute(
            "select count(*), count(distinct (row_id, data ->> 'token')) from event where type = 'task.claim'"
        ).fetchone()
    assert row is not None
    if row[0] != row[1]:
        raise RuntimeError(f"{row[0]} claims issued {row[1]} tokens")
    return {"claims": row[0]}
