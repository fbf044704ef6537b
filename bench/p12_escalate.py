"""P12: escalate a task with 100,000 observations, and one with 10, over HTTP: the package is not a copy."""

import json
import statistics
from collections.abc import Callable

import psycopg

from bench.baselines import serving
from bench.load import Client, encode
from bench.measure import Length, Result, compare, interleave
from bench.seed import Plan, seed
from bench.stack import Stack, free_port

FEW, MANY = 10, 100_000
ASK = {
    "reason_code": "policy_exception",
    "reason": "The return window closed two days ago.",
    "question": "May I refund it all the same?",
    "allowed": ["respond", "reject"],
}


def measure(stack: Stack, length: Length) -> Result:
    """Goal: at most 1.2 times the time. Each escalation is cancelled, untimed, as a task has at most one open."""
    database = stack.database("p12")
    # 50 beside 10 shows how much of the difference is the first page of the package, which has up to 50 rows.
    seeded = seed(stack, database, Plan(agents=1, tasks={"few": FEW, "page": 50, "many": MANY}))
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    port = free_port()
    server = stack.serve(serving.product(port), database.environment, port)
    client = Client(port)
    times = 40 if length.is_long else 20
    contenders = {name: _escalating(client, port, seeded.keys[0], name, times) for name in ("few", "page", "many")}
    for warm in contenders.values():
        warm()
    rounds = interleave(length, contenders)
    client.close()
    stack.end(server)
    what = "escalate 100,000 observations, against {}"
    lines = [
        compare(rounds, "many", baseline, target="P12", what=what.format(size), unit="ms", goal=1.2, at_least=False)
        for baseline, size in (("few", 10), ("page", 50))
    ]
    return Result("p12", lines, rounds=dict(rounds))


def _escalating(client: Client, port: int, key: str, task: str, times: int) -> Callable[[], float]:
    asking = encode("POST", "/api/v1/escalations", port, key, {"task": task, **ASK})

    def escalate() -> float:
        """The median time of some escalations, in milliseconds."""
        taken = []
        for _ in range(times):
            status, body, seconds = client.send(asking)
            if status != 201:
                raise RuntimeError(f"escalating answered {status}: {body[:500]!r}")
            taken.append(seconds)
            path = f"/api/v1/escalations/{json.loads(body)['id']}/cancel"
            status, body, _ = client.send(encode("POST", path, port, key, {"reason": "measured"}))
            if status != 200:
                raise RuntimeError(f"cancelling answered {status}: {body[:500]!r}")
        return 1000 * statistics.median(taken)

    return escalate
