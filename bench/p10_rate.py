"""P10, its other half: the highest rate of events of which 1,000 open dashboards miss none."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

import psycopg

from bench import fanout
from bench.baselines import serving
from bench.fanout import Job
from bench.load import encode
from bench.measure import Length, Result, compare
from bench.p10_fanout import SHOWN, SOCKETS, handshake
from bench.p12_escalate import ASK
from bench.seed import Plan, seed
from bench.stack import PYTHON, Database, Stack, free_port

SECONDS = 10  # longer than what 100 events take, which channels' layer keeps for each socket
AGENTS = 50  # since each may have so many open escalations
RATES = [4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128]  # each about 1.4 times the one before; 0: none is loss-free
OURS, CHANNELS = "memoryhub", "channels' RedisPubSubChannelLayer"


def measure(stack: Stack, length: Length) -> Result:
    """Goal: 8 times that of channels' own layer. Events come at even intervals, whatever has been heard."""
    database = stack.database("p10rate")
    count = 3 if length.is_long else 1
    tasks = {f"t{number}": 1 for number in range(count * SECONDS * sum(RATES))}
    seeded = seed(stack, database, Plan(agents=AGENTS, tasks=tasks))
    environment = database.environment | {"SOCKETS_PER_PERSON": "10000"}
    desk = json.loads(stack.run([PYTHON, "-m", "bench.desk_session"], environment))
    unused, keys = iter(tasks), cycle(seeded.keys)
    rounds: dict[str, list[float]] = {OURS: [], CHANNELS: []}
    for _ in range(count):
        port = free_port()
        server = stack.serve(serving.product(port), environment, port)
        path = f"/ws/t/{desk['team']}/queue/"
        job = Job(port, SOCKETS, handshake(path, port, desk["cookie"]), "", '"ready"', '"type":"event"')

        def escalating(job: Job, number: int) -> Job:
            asked = [
                encode("POST", "/api/v1/escalations", job.port, next(keys), {"task": next(unused), **ASK})
                for _ in range(number)
            ]
            return replace(job, hello=json.dumps({"after": _head(database)}), events=[one.hex() for one in asked])

        rounds[OURS].append(_highest(job, escalating))
        stack.end(server)
        port = free_port()
        server = stack.serve(serving.channels(port), environment, port)
        job = Job(port, SOCKETS, handshake("/", port, ""), "{}", '"ready"', '"type": "event"')

        def telling(job: Job, number: int) -> Job:
            event = encode("POST", "/", job.port, body={"type": "event", "row": "x" * SHOWN})
            return replace(job, events=[event.hex()] * number)

        rounds[CHANNELS].append(_highest(job, telling))
        stack.end(server)
    what = "events a second of which 1,000 dashboards miss none"
    line = compare(rounds, OURS, CHANNELS, target="P10", what=what, unit="/s", goal=8.0)
    return Result("p10rate", [line], rounds=dict(rounds))


def _highest(job: Job, events: Callable[[Job, int], Job]) -> float:
    """The highest of RATES before the first at which something is lost, or that the server does not take."""
    highest = 0
    for rate in RATES:
        lost, seconds = fanout.flood(replace(events(job, rate * SECONDS), rate=rate))
        if lost or seconds > 1.1 * SECONDS:
            break
        highest = rate
    return highest


def _head(database: Database) -> int:
    """The number of the ledger's last event."""
    with psycopg.connect(database.owner_url) as connection:
        return int(connection.execute("select max(seq) from event_seq").fetchall()[0][0])
