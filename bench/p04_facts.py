"""P4: compare-and-set on a fact over HTTP, 16 clients on 16 keys, against the product's own POST of an observation."""

from collections.abc import Callable

import psycopg

from bench import load
from bench.baselines import serving
from bench.contest import CONNECTIONS, TASKS
from bench.load import IF_MATCH, Client, Figures, Job, encode
from bench.measure import Length, Result, compare, interleave
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import Stack, free_port


def measure(stack: Stack, length: Length) -> Result:
    """Goal: at least 0.9 times the rate. The same content, no task; each client changes the version last received."""
    database = stack.database("p4")
    seeded = seed(stack, database, Plan(agents=1, tasks=dict.fromkeys(TASKS, 10)))
    port, key = free_port(), seeded.keys[0]
    server = stack.serve(serving.product(port), database.environment, port)
    _make(port, key)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    figures: dict[str, list[Figures]] = {"compare-and-set": [], "POST": []}
    posts = [encode("POST", "/api/v1/observations", port, key, {"task": task, **OBSERVATION}).hex() for task in TASKS]
    contenders = {
        "compare-and-set": _changing(port, key, length.seconds, figures["compare-and-set"]),
        "POST": _loading(Job(port, posts, 201, CONNECTIONS, seconds=length.seconds), figures["POST"]),
    }
    for warm in contenders.values():
        warm()
    for taken in figures.values():
        taken.clear()
    rounds = interleave(length, contenders)
    stack.end(server)
    line = compare(
        rounds,
        "compare-and-set",
        "POST",
        target="P4",
        what="compare-and-set on 16 facts, against POST",
        unit="requests/s",
        goal=0.9,
    )
    return Result("p4", [line], rounds={name: [vars(one) for one in taken] for name, taken in figures.items()})


def _make(port: int, key: str) -> None:
    client = Client(port)
    for fact in TASKS:
        request = encode("PUT", f"/api/v1/facts/{fact}", port, key, _body()).replace(
            b"\r\nAccept:", b"\r\nIf-None-Match: *\r\nAccept:", 1
        )
        status, body, _ = client.send(request)
        if status != 201:
            raise RuntimeError(f"making a fact answered {status}: {body[:500]!r}")
    client.close()


def _body() -> dict[str, object]:
    return {"value": OBSERVATION["content"]}


def _changing(port: int, key: str, seconds: float, figures: list[Figures]) -> Callable[[], float]:
    """Each run starts with the current versions."""
    puts = [
        encode("PUT", f"/api/v1/facts/{fact}", port, key, _body(), if_match=IF_MATCH.decode()).hex() for fact in TASKS
    ]

    def change() -> float:
        client = Client(port)
        tags = []
        for fact in TASKS:
            client.send(encode("GET", f"/api/v1/facts/{fact}", port, key))
            tags.append(client.tag())
        client.close()
        return _loading(Job(port, puts, 200, CONNECTIONS, seconds=seconds, tags=tags), figures)()

    return change


def _loading(job: Job, figures: list[Figures]) -> Callable[[], float]:
    def ask() -> float:
        figures.append(load.run(job))
        return figures[-1].rate

    return ask
