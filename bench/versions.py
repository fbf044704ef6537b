"""The product beside an earlier version of itself, in turns: `BENCH_AGAINST=<a checkout> python -m bench versions`.

Each version has its own database, made and filled by its own code, and one web process. Besides requests per second,
the processor time of the web process per request is compared, which a busy machine disturbs less.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg

from bench import load
from bench.load import Client, Job, encode
from bench.measure import Length, Result, compare, interleave
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import PYTHON, Stack, free_port

WHAT = "the product beside an earlier version"
AGAINST = "BENCH_AGAINST"
CONNECTIONS = 16
TASKS = [f"bench-{number}" for number in range(CONNECTIONS)]
ITEMS = [{**OBSERVATION, "task": TASKS[0]}] * 50
OURS, THEIRS = "now", "before"
# Short turns and many, since the machine's speed changes by half within a minute; `--long` has three times as many.
ROUNDS, SECONDS = 15, 0.7

Encode = Callable[[int, str, str], bytes]  # port, key, task
REQUESTS: dict[str, tuple[Encode, int]] = {
    "POST an observation": (
        lambda port, key, task: encode("POST", "/api/v1/observations", port, key, {"task": task, **OBSERVATION}),
        201,
    ),
    "GET 50 observations": (
        lambda port, key, task: encode("GET", f"/api/v1/observations?task={task}&limit=50", port, key),
        200,
    ),
    "POST 50 observations": (
        lambda port, key, task: encode("POST", "/api/v1/observations/batch", port, key, {"items": ITEMS}),
        200,
    ),
    "POST a decision": (
        lambda port, key, task: encode(
            "POST", "/api/v1/decisions", port, key, {"task": task, "decision": {"do": "x"}, "reasoning": "It is due."}
        ),
        201,
    ),
    "GET a task": (lambda port, key, task: encode("GET", f"/api/v1/tasks/{task}", port, key), 200),
    "GET a fact": (lambda port, key, task: encode("GET", f"/api/v1/facts/{task}", port, key), 200),
    "GET a context": (lambda port, key, task: encode("GET", f"/api/v1/tasks/{task}/context", port, key), 200),
    "GET a package": (lambda port, key, task: encode("GET", f"/api/v1/escalations/{{{task}}}/package", port, key), 200),
    "GET escalations": (lambda port, key, task: encode("GET", "/api/v1/escalations?limit=50", port, key), 200),
}


def measure(stack: Stack, length: Length) -> Result:
    """No goals: the lines show how much faster (above 1) or cheaper (below 1) the present version is."""
    other = os.environ.get(AGAINST)
    if other is None:
        raise SystemExit(f"Set {AGAINST} to a checkout of the earlier version.")
    roots = {OURS: stack.root, THEIRS: Path(other)}
    turns = Length(3 * ROUNDS if length.is_long else ROUNDS, SECONDS, length.is_long)
    rounds: dict[str, dict[str, list[float]]] = {}
    # Each is first once, at the start and in the rounds: the same code is 2 to 5 % slower there.
    for number, order in enumerate(([OURS, THEIRS], [THEIRS, OURS])):
        made = {name: _start(replace(stack, root=roots[name]), f"v{number}_{name}") for name in order}
        for what, (encoded, status) in REQUESTS.items():
            costs: dict[str, list[float]] = {OURS: [], THEIRS: []}
            contenders = {name: _load(made[name], encoded, status, turns.seconds, costs[name]) for name in order}
            rates = interleave(turns, contenders)
            for unit, of in (("requests/s", rates), ("ms of processor", costs)):
                kept = rounds.setdefault(f"{what}, {unit}", {OURS: [], THEIRS: []})
                for name, values in of.items():
                    kept[name] += values
        for version in made.values():
            stack.end(version.server)
    lines = []
    for key, of in rounds.items():
        what, _, unit = key.rpartition(", ")
        is_rate = unit == "requests/s"
        lines.append(compare(of, OURS, THEIRS, target="versions", what=what, unit=unit, goal=None, at_least=is_rate))
    flat = {f"{key}, {name}": values for key, of in rounds.items() for name, values in of.items()}
    return Result("versions", lines, rounds=flat)


class _Version:
    """A running version, and the ids that its requests need."""

    def __init__(self, server: subprocess.Popen[bytes], port: int, key: str, rows: dict[str, str]) -> None:
        self.server, self.port, self.key, self.rows = server, port, key, rows


def _start(stack: Stack, name: str) -> _Version:
    database = stack.database(name)
    seeded = seed(stack, database, Plan(agents=1, tasks=dict.fromkeys(TASKS, 200)))
    port = free_port()
    where = "run" if (stack.root / "memoryhub" / "run").is_dir() else "config"  # it moved
    asked = f"import json; from memoryhub.{where}.launch import web_command; print(json.dumps(web_command({port})))"
    command = json.loads(stack.run([PYTHON, "-c", asked], database.environment))
    # On one core, as by `make run` (ADR 6), and with the same hashes: else one start differs from another by a tenth.
    kept = {"WEB_THREADS": "16", "WEB_CORE": str(max(os.sched_getaffinity(0))), "PYTHONHASHSEED": "0"}
    server = stack.serve(command, {**database.environment, **kept}, port)
    client, key, rows = Client(port), seeded.keys[0], {}
    for task in TASKS:
        learning = {"task": task, "signal_type": "pattern", "details": "x", "context": {"order": task}}
        _sent(client, encode("POST", "/api/v1/learnings", port, key, learning))
        body = {"task": task, "reason_code": "other", "reason": "r", "question": "q?"}
        rows[task] = _sent(client, encode("POST", "/api/v1/escalations", port, key, body))["id"]
        fact = encode("PUT", f"/api/v1/facts/{task}", port, key, {"value": {"a": 1}, "task": task})
        _sent(client, fact.replace(b"Accept:", b"If-None-Match: *\r\nAccept:", 1))
    client.close()
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return _Version(server, port, key, rows)


def _sent(client: Client, request: bytes) -> dict[str, str]:
    status, body, _ = client.send(request)
    if status not in (200, 201):
        raise RuntimeError(f"{status}: {body.decode()}")
    found: dict[str, str] = json.loads(body)
    return found


def _load(version: _Version, encoded: Encode, status: int, seconds: float, costs: list[float]) -> Callable[[], float]:
    requests = []
    for task in TASKS:
        request = encoded(version.port, version.key, task)
        requests.append(request.replace(f"{{{task}}}".encode(), version.rows[task].encode()).hex())
    job = Job(version.port, requests, status, CONNECTIONS, seconds=seconds)
    process = psutil.Process(version.server.pid)

    def ask() -> float:
        before = sum(process.cpu_times()[:2])
        figures = load.run(job)
        spent = sum(process.cpu_times()[:2]) - before
        costs.append(1000 * spent / (figures.rate * (job.seconds + job.warm_seconds)))
        return figures.rate

    return ask
