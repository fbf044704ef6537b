"""What P1 and P2 share: the product and two baselines, one web process each, get the same HTTP requests in turn."""

from collections.abc import Callable

import psycopg

from bench import load
from bench.baselines import serving, tables
from bench.load import Figures, Job
from bench.measure import Length, Line, Result, compare, interleave
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import Stack, free_port

CONNECTIONS = 16
TASKS = [f"bench-{number}" for number in range(CONNECTIONS)]
WEB_THREADS = "16"
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
    goals: tuple[float, float],
) -> Result:
    """Load all three over 16 connections, each with its own task. `goals`: the ratio to stock DRF, and to FastAPI."""
    ours = stack.database(name)
    seeded = seed(stack, ours, Plan(agents=1, tasks=dict.fromkeys(TASKS, observations)))
    theirs = stack.database(f"{name}_baseline", migrated=False)
    tables.make(theirs.owner_url, TASKS)
    _fill(theirs.owner_url, observations)
    for database in (ours, theirs):  # as autovacuum does a minute later
        with psycopg.connect(database.owner_url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
    plain = {**theirs.environment, "DATABASE_URL": theirs.owner_url, "WEB_THREADS": WEB_THREADS}
    product = {**ours.environment, "WEB_THREADS": WEB_THREADS}

    parts = {
        "memoryhub": (serving.product, product, seeded.keys[0], "/api/v1"),
        "stock DRF": (serving.stock_drf, plain, tables.KEY, ""),
        "FastAPI": (serving.fastapi_plain, plain, tables.KEY, ""),
    }
    figures: dict[str, list[Figures]] = {}
    contenders: dict[str, Callable[[], float]] = {}
    servers = []
    for part, (command, environment, key, prefix) in parts.items():
        port = free_port()
        servers.append(stack.serve(command(port), environment, port))
        requests = [encode(port, key, prefix, task).hex() for task in TASKS]
        job = Job(port, requests, status, CONNECTIONS, seconds=length.seconds)
        load.run(Job(port, requests, status, CONNECTIONS, seconds=1.0))  # warm-up: connections, plans, caches
        contenders[part] = _loading(job, figures.setdefault(part, []))
    rounds = interleave(length, contenders)
    for server in servers:
        stack.end(server)
    lines: list[Line] = [
        compare(
            rounds,
            "memoryhub",
            baseline,
            target=name.upper(),
            what=f"{what}, against {baseline}",
            unit="requests/s",
            goal=goal,
        )
        for baseline, goal in zip(("stock DRF", "FastAPI"), goals, strict=True)
    ]
    return Result(
        name, lines, rounds={part: [vars(taken) for taken in taken_all] for part, taken_all in figures.items()}
    )


def _loading(job: Job, figures: list[Figures]) -> Callable[[], float]:
    def ask() -> float:
        figures.append(load.run(job))
        return figures[-1].rate

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
