"""P10: one event to 1,000 open dashboards: how long after the first of them the others have heard it."""

import json
from dataclasses import replace

from bench import fanout
from bench.baselines import serving
from bench.fanout import Job
from bench.load import encode
from bench.measure import Length, Result, compare
from bench.seed import Plan, seed
from bench.stack import PYTHON, Stack, free_port

WHAT = "one event to 1,000 dashboards"
SOCKETS, EVENTS = 1_000, 18
SHOWN = 3_000  # bytes, about what a row of the queue takes
OURS, RAW = "memoryhub", "a raw asyncio fan-out"


def measure(stack: Stack, length: Length) -> Result:
    """Goal: at most twice the time of a process that only writes the bytes, for 99 of 100 sockets.

    From the first socket's frame on, so that the request's own work, which the other has none of, is no part of it.
    From the request on it is in the facts.
    """
    database = stack.database("p10")
    tasks = [f"t{number}" for number in range(EVENTS)]
    seeded = seed(stack, database, Plan(agents=1, tasks=dict.fromkeys(tasks, 1)))
    environment = database.environment | {"SOCKETS_PER_PERSON": "10000"}
    desk = json.loads(stack.run([PYTHON, "-m", "bench.desk_session"], environment))
    rounds: dict[str, list[float]] = {OURS: [], RAW: []}
    whole: dict[str, list[float]] = {OURS: [], RAW: []}
    count = 5 if length.is_long else 3
    for number in range(count):
        port = free_port()
        server = stack.serve(serving.product(port), environment, port)
        keys = [f"t{at}" for at in range(number * EVENTS // count, (number + 1) * EVENTS // count)]
        events = [encode("POST", "/api/v1/escalations", port, seeded.keys[0], _asked(key)) for key in keys]
        hello, path = json.dumps({"after": desk["after"]}), f"/ws/t/{desk['team']}/queue/"
        job = Job(port, SOCKETS, handshake(path, port, desk["cookie"]), hello, '"ready"', '"event"')
        _add(OURS, rounds, whole, replace(job, events=[event.hex() for event in events]))
        stack.end(server)
        desk["after"] += len(keys)
        port = free_port()
        server = stack.serve([PYTHON, "-m", "bench.baselines.raw_fanout", str(port)], environment, port)
        event = encode("POST", "/", port, body={"type": "event", "row": "x" * SHOWN})
        job = replace(job, port=port, handshake=handshake("/", port, ""), events=[event.hex()] * len(keys))
        _add(RAW, rounds, whole, job)
        stack.end(server)
    line = compare(rounds, OURS, RAW, target="P10", what=WHAT, unit="ms, p99", goal=2.0, at_least=False)
    return Result("p10", [line], rounds=dict(rounds), facts={"from the request, ms": whole})


def _asked(task: str) -> dict[str, str]:
    return {"task": task, "reason_code": "other", "reason": "No rule fits.", "question": "What now?"}


def handshake(path: str, port: int, cookie: str) -> str:
    """The request that opens a socket."""
    host = f"127.0.0.1:{port}"
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", f"Origin: http://{host}"]
    return "\r\n".join([*lines, f"Cookie: {cookie}", "", ""])


def _add(name: str, rounds: dict[str, list[float]], whole: dict[str, list[float]], job: Job) -> None:
    """Each round's 99th percentile; without the first, in which templates are compiled."""
    for first, late in fanout.delays(job)[1:]:
        rounds[name].append(late - first)
        whole[name].append(late)
