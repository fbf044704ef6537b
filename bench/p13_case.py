"""P13: the page of a case whose task has 10,000 items, and of one with 100, to its last byte, over HTTP."""

import json
import statistics
from collections.abc import Callable

import psycopg

from bench.baselines import serving
from bench.load import Client, encode
from bench.measure import Length, Result, compare, interleave
from bench.p12_escalate import ASK
from bench.seed import Plan, seed
from bench.stack import PYTHON, Stack, free_port

FEW, MANY = 100, 10_000


def measure(stack: Stack, length: Length) -> Result:
    """Goals: at most 1.3 times the time; and 200 ms, which is for whoever reads the figures."""
    database = stack.database("p13")
    seeded = seed(stack, database, Plan(agents=1, tasks={"few": FEW, "many": MANY}))
    cookie = json.loads(stack.run([PYTHON, "-m", "bench.desk_session"], database.environment))["cookie"]
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    stack.collect_static(database)
    port = free_port()
    server = stack.serve(serving.product(port), database.environment, port)
    client = Client(port)
    contenders: dict[str, Callable[[], float]] = {}
    for task in ("few", "many"):
        request = encode("POST", "/api/v1/escalations", port, seeded.keys[0], {"task": task, **ASK})
        status, body, _ = client.send(request)
        if status != 201:
            raise RuntimeError(f"escalating answered {status}: {body[:500]!r}")
        contenders[task] = _opening(client, port, cookie, json.loads(body)["id"], 40 if length.is_long else 15)
    for warm in contenders.values():
        warm()
    rounds = interleave(length, contenders)
    client.close()
    stack.end(server)
    what = "a case's page, 10,000 items against 100"
    line = compare(rounds, "many", "few", target="P13", what=what, unit="ms", goal=1.3, at_least=False)
    return Result("p13", [line], rounds=dict(rounds))


def _opening(client: Client, port: int, cookie: str, escalation: str, times: int) -> Callable[[], float]:
    request = encode("GET", f"/escalations/{escalation}/", port).replace(
        b"Accept: application/json", b"Accept: text/html\r\nCookie: " + cookie.encode()
    )

    def opening() -> float:
        """The median time of some, in milliseconds."""
        taken = []
        for _ in range(times):
            status, body, seconds = client.send(request)
            if status != 200 or b"<html" not in body:
                raise RuntimeError(f"the page answered {status}: {body[:500]!r}")
            taken.append(seconds)
        return 1000 * statistics.median(taken)

    return opening
