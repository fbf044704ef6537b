"""What P1 and P2 share: the product and three baselines, one web process each, get the same HTTP requests in turn."""

from collections.abc import Callable

import psycopg

from bench import load
from bench.baselines import serving, tables
from bench.load import Job
from bench.measure import Length, Line, Result, compare, interleave
from bench.processor import POSTGRES, WEB, per_request, spent
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import Stack, free_port

CONNECTIONS = 16
TASKS = [f"bench-{number}" for number in range(CONNECTIONS)]
WEB_THREADS = "16"  # of stock DRF
OURS, STOCK, SAME, BARE = "memoryhub", "stock DRF", "FastAPI, same work", "bare FastAPI"
BASELINES = (STOCK, SAME, BARE)
FAIR = 0.4  # of bare FastAPI, which the baseline that does the same work must reach to be a good one
Encode = Callable[[int, str, str, str], bytes]  # port, key, prefix of the path, task's key


def contest(
    stack: Stack,
    length: Length,
    *,
    name: str,
    what: str,
    encode: Encode,
    status: int,
    observations: int,
    goals: dict[str, float],
) -> Result:
    """Load all of them over 16 connections, each with its own task. `goals`: the ratio to each baseline with one."""
    plan = Plan(agents=1, tasks=dict.fromkeys(TASKS, observations))
    ours, same = stack.database(name), stack.database(f"{name}_same")
    seeded, seeded_same = seed(stack, ours, plan), seed(stack, same, plan)
    theirs = stack.database(f"{name}_baseline", migrated=False)
    tables.make(theirs.owner_url, TASKS)
    _fill(theirs.owner_url, observations)
    for database in (ours, same, theirs):  # as autovacuum does a minute later
        with psycopg.connect(database.owner_url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
    plain = {**theirs.environment, "DATABASE_URL": theirs.owner_url, "WEB_THREADS": WEB_THREADS}

    parts = {
        OURS: (serving.product, ours.environment, seeded.keys[0], "/api/v1"),
        STOCK: (serving.stock_drf, plain, tables.KEY, ""),
        SAME: (serving.fastapi_same, same.environment, seeded_same.keys[0], ""),
        BARE: (serving.fastapi_plain, plain, tables.KEY, ""),
    }
    figures: dict[str, list[dict[str, float]]] = {}
    contenders: dict[str, Callable[[], float]] = {}
    servers = []
    for part, (command, environment, key, prefix) in parts.items():
        port = free_port()
        server = stack.serve(command(port), environment, port)
        servers.append(server)
        requests = [encode(port, key, prefix, task).hex() for task in TASKS]
        job = Job(port, requests, status, CONNECTIONS, seconds=length.seconds)
        load.run(Job(port, requests, status, CONNECTIONS, seconds=1.0))  # warm-up: connections, plans, caches
        contenders[part] = _loading(stack, server.pid, job, figures.setdefault(part, []))
    interleave(length, contenders)
    for server in servers:
        stack.end(server)
    taken = {part: [of["rate"] for of in found] for part, found in figures.items()}
    lines = [
        _line(name, f"{what}, against {baseline}", taken, OURS, baseline, goals.get(baseline)) for baseline in BASELINES
    ]
    lines.append(_line(name, f"{SAME}, against {BARE}", taken, SAME, BARE, FAIR))
    for unit in (WEB, POSTGRES):
        spent_by = {part: [of[unit] for of in found] for part, found in figures.items()}
        lines += [
            compare(
                spent_by,
                OURS,
                baseline,
                target=name.upper(),
                what=f"{unit}, against {baseline}",
                unit="ms/request",
                goal=None,
                at_least=False,
            )
            for baseline in BASELINES
        ]
    return Result(name, lines, rounds=dict(figures))


def _line(name: str, what: str, rates: dict[str, list[float]], one: str, other: str, goal: float | None) -> Line:
    return compare(rates, one, other, target=name.upper(), what=what, unit="requests/s", goal=goal)


def _loading(stack: Stack, server: int, job: Job, figures: list[dict[str, float]]) -> Callable[[], float]:
    def ask() -> float:
        before = spent(stack, server)
        found = load.run(job)
        sent = found.rate * (job.seconds + job.warm_seconds)
        figures.append(vars(found) | per_request(before, spent(stack, server), sent))
        return found.rate

    return ask


def _fill(url: str, observations: int) -> None:
    """Fill the baselines' tables with as many observations of each task."""
    values = {
        "author": tables.AUTHOR,
        "content": psycopg.types.json.Jsonb(OBSERVATION["content"]),
        "tags": OBSERVATION["tags"],
        "importance": OBSERVATION["importance"],
        "count": observations,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "insert into observation (id, task_id, author_id, content, tags, importance)"
            " select uuidv7(), task.id, %(author)s, %(content)s, %(tags)s, %(importance)s"
            " from generate_series(1, %(count)s), task",
            values,
        )
