"""P3: a batch of 100 observations over HTTP, with key, validation, row-level security, ledger, against raw INSERTs."""

from collections.abc import Callable

import psycopg

from bench import load
from bench.baselines import serving, tables
from bench.baselines.raw_batch import ITEMS
from bench.contest import TASKS
from bench.load import Job, encode
from bench.measure import Length, Result, compare, interleave
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import PYTHON, Database, Stack, free_port


def measure(stack: Stack, length: Length) -> Result:
    """Goals: with 1 client 0.75 times the rate of one connection of raw psycopg; with 16 clients 0.7 times that of
    four.
    """
    ours = stack.database("p3")
    seeded = seed(stack, ours, Plan(agents=1, tasks=dict.fromkeys(TASKS, 10)))
    theirs = stack.database("p3_baseline", migrated=False)
    tables.make(theirs.owner_url, TASKS)
    for database in (ours, theirs):
        with psycopg.connect(database.owner_url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
    port = free_port()
    server = stack.serve(serving.product(port), ours.environment, port)
    requests = [_batch(port, seeded.keys[0], task).hex() for task in TASKS]
    load.run(Job(port, requests, 200, 16, seconds=4.0))  # warm-up: connections, plans, caches
    contenders: dict[str, Callable[[], float]] = {
        "1 client": lambda: load.run(Job(port, requests, 200, 1, seconds=length.seconds)).rate,
        "1 connection": lambda: _raw(stack, theirs, 1, length.seconds),
        "16 clients": lambda: load.run(Job(port, requests, 200, 16, seconds=length.seconds)).rate,
        "4 connections": lambda: _raw(stack, theirs, 4, length.seconds),
    }
    rounds = interleave(length, contenders)
    stack.end(server)
    lines = [
        compare(rounds, mine, raw, target="P3", what=f"batch of {ITEMS}, {mine}, against {raw}", unit="/s", goal=goal)
        for mine, raw, goal in (("1 client", "1 connection", 0.75), ("16 clients", "4 connections", 0.7))
    ]
    return Result("p3", lines, rounds=dict(rounds))


def _batch(port: int, key: str, task: str) -> bytes:
    return encode("POST", "/api/v1/observations/batch", port, key, {"items": [{"task": task, **OBSERVATION}] * ITEMS})


def _raw(stack: Stack, database: Database, connections: int, seconds: float) -> float:
    environment = {**database.environment, "DATABASE_URL": database.owner_url}
    command = [PYTHON, "-m", "bench.baselines.raw_batch", str(connections), str(seconds)]
    return float(stack.run(command, environment))
