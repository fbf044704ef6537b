"""The product beside an earlier version of itself, in turns: `BENCH_AGAINST=<a checkout> python -m bench versions`.
`BENCH_REQUESTS="GET a,POST a d"` limits it to the kinds of requests that begin so.

Each version has its own database, made and filled by its own code, and a web process that is started afresh in each
round. Besides requests per second, the processor time per request is compared, which a busy machine
disturbs less.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from bench import load
from bench.load import Client, Job, encode
from bench.measure import Length, Result, compare
from bench.processor import per_request, spent
from bench.seed import OBSERVATION, Plan, seed
from bench.stack import PYTHON, Database, Stack, free_port

WHAT = "the product beside an earlier version"
AGAINST, ONLY = "BENCH_AGAINST", "BENCH_REQUESTS"
CONNECTIONS = 16
TASKS = [f"bench-{number}" for number in range(CONNECTIONS)]
ITEMS = [{**OBSERVATION, "task": TASKS[0]}] * 50
OURS, THEIRS = "now", "before"
# One start of the same code is up to a tenth faster than another, and the machine's speed changes by half within a
# minute: so many pairs of starts, and a short turn of each kind of request in each.
STARTS, SECONDS = 15, 0.7

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
    made = {name: _make(replace(stack, root=root), name) for name, root in roots.items()}
    wanted = tuple(os.environ.get(ONLY, "").split(","))
    requests = {what: of for what, of in REQUESTS.items() if what.startswith(wanted)}
    rounds: dict[str, dict[str, list[float]]] = {}
    for number in range(3 * STARTS if length.is_long else STARTS):
        order = [OURS, THEIRS] if number % 2 == 0 else [THEIRS, OURS]  # who is first is slower
        for name in order:
            made[name].start()
        for what, (encoded, status) in requests.items():
            for name in order:
                for unit, figure in made[name].load(encoded, status).items():
                    rounds.setdefault(f"{what}, {unit}", {OURS: [], THEIRS: []})[name].append(figure)
        for version in made.values():
            version.end()
    lines = []
    for key, of in rounds.items():
        what, _, unit = key.rpartition(", ")
        is_rate = unit == "requests/s"
        lines.append(compare(of, OURS, THEIRS, target="versions", what=what, unit=unit, goal=None, at_least=is_rate))
    flat = {f"{key}, {name}": values for key, of in rounds.items() for name, values in of.items()}
    return Result("versions", lines, rounds=flat)


@dataclass
class _Version:
    """One version with its filled database, and the ids that its requests need; its web process, while there is one."""

    stack: Stack
    database: Database
    key: str
    rows: dict[str, str] = field(default_factory=dict)
    port: int = 0
    server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = free_port()
        where = "run" if (self.stack.root / "memoryhub" / "run").is_dir() else "config"  # it moved
        command_of = f"from memoryhub.{where}.launch import web_command; print(json.dumps(web_command({self.port})))"
        command = json.loads(self.stack.run([PYTHON, "-c", f"import json; {command_of}"], self.database.environment))
        # On one core, as by `make run` (ADR 6).
        kept = {"WEB_CORE": str(max(os.sched_getaffinity(0)))}
        self.server = self.stack.serve(command, {**self.database.environment, **kept}, self.port)

    def end(self) -> None:
        assert self.server is not None
        self.stack.end(self.server)

    def load(self, encoded: Encode, status: int) -> dict[str, float]:
        """One turn: requests per second, and the processor time per request."""
        assert self.server is not None
        requests = [
            encoded(self.port, self.key, task).replace(f"{{{task}}}".encode(), self.rows[task].encode()).hex()
            for task in TASKS
        ]
        job = Job(self.port, requests, status, CONNECTIONS, seconds=SECONDS)
        before = spent(self.stack, self.server.pid)
        rate = load.run(job).rate
        taken = per_request(before, spent(self.stack, self.server.pid), rate * (job.seconds + job.warm_seconds))
        return {"requests/s": rate} | {f"ms of {part}": figure for part, figure in taken.items()}


def _make(stack: Stack, name: str) -> _Version:
    """A database made and filled by the version's own code."""
    database = stack.database(f"version_{name}")
    seeded = seed(stack, database, Plan(agents=1, tasks=dict.fromkeys(TASKS, 200)))
    made = _Version(stack, database, seeded.keys[0])
    made.start()
    client, port, key = Client(made.port), made.port, made.key
    for task in TASKS:
        learning = {"task": task, "signal_type": "pattern", "details": "x", "context": {"order": task}}
        _sent(client, encode("POST", "/api/v1/learnings", port, key, learning))
        body = {"task": task, "reason_code": "other", "reason": "r", "question": "q?"}
        made.rows[task] = _sent(client, encode("POST", "/api/v1/escalations", port, key, body))["id"]
        fact = encode("PUT", f"/api/v1/facts/{task}", port, key, {"value": {"a": 1}, "task": task})
        _sent(client, fact.replace(b"Accept:", b"If-None-Match: *\r\nAccept:", 1))
    client.close()
    made.end()
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return made


def _sent(client: Client, request: bytes) -> dict[str, str]:
    status, body, _ = client.send(request)
    if status not in (200, 201):
        raise RuntimeError(f"{status}: {body.decode()}")
    found: dict[str, str] = json.loads(body)
    return found
