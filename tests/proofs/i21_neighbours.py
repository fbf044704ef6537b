"""I21: a bad neighbour is only bad for itself.

An ordinary agent (POST, GET, claim) and a person's page are timed beside an attack. The attack runs in a process of
its own, from another address of the loopback or from the victims' own with another key. Quiet is the same attack
against a dummy port, so that what the attacker's process takes of the machine is in both figures. Judged are the
victims' p95, the memory of the web process, and whether both are as before five seconds after the attack has ended.

`python -m tests.proofs.i21_neighbours`: the attacker; a job as JSON on standard input, and it ends when that closes.
"""

import asyncio
import json
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

import httpx2

MOST_TIMES = 3.0
MOST_MB = 150.0
REST_SECONDS = 5.0
# Below this no difference is told: a pause of the machine is as long. The short form runs beside other tests.
FLOOR_SECONDS, SHORT_FLOOR_SECONDS = 0.05, 2.0
ANSWER = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Job:
    """What the attacker does on each of its connections, which it opens again when they are closed.

    `requests`, in hex, are dealt round the connections. `way`: "flood" sends its request again whenever it is answered;
    "hold" sends it once and waits; "connect" waits for a moment only, and comes again; "unread" sends it and never
    reads; "pour" sends it and then `more` for ever.
    """

    way: str
    connections: int
    requests: list[str]
    more: str = ""
    source: str = "127.0.0.2"
    port: int = 0


@dataclass
class Times:
    """What one victim was answered, in seconds, and what was not."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def p95(self) -> float:
        return (
            statistics.quantiles(self.seconds, n=20, method="inclusive")[18] if len(self.seconds) > 1 else float("inf")
        )


@dataclass(frozen=True)
class Seen:
    """The figures of one attack: p95 of each victim in seconds (quiet, beside it, after it), and MB of memory more."""

    quiet: dict[str, float]
    beside: dict[str, float]
    after: dict[str, float]
    failed: list[str]
    grown: float
    left: float

    def faults(self, floor: float = FLOOR_SECONDS) -> list[str]:
        """Each bound that was passed."""
        found = list(self.failed[:3])
        for name, quiet in self.quiet.items():
            most = max(MOST_TIMES * quiet, quiet + floor)
            for when, p95 in (("beside", self.beside[name]), ("after", self.after[name])):
                if p95 > most:
                    found.append(f"{name} {when}: p95 {p95:.3f} s, quiet {quiet:.3f} s")
        if self.grown > MOST_MB:
            found.append(f"memory grew by {self.grown:.0f} MB")
        if self.left > MOST_MB / 2:
            found.append(f"{self.left:.0f} MB were left")
        return found


@dataclass(frozen=True)
class Victims:
    """Who is timed: an agent by its key, a person by their session, at this server."""

    url: str
    key: str
    session: str
    memory: "Memory"

    def times(self, seconds: float) -> dict[str, Times]:
        """Use it as they do for so long."""
        agent = {"Authorization": f"Bearer {self.key}"}
        person = {"Cookie": f"sessionid={self.session}", "Accept": "text/html"}
        made = {name: Times() for name in ("post", "get", "claim", "page")}
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._use, args=(agent, ("post", "get", "claim"), made, end)),
            threading.Thread(target=self._use, args=(person, ("page",), made, end)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return made

    def _use(self, headers: dict[str, str], names: tuple[str, ...], made: dict[str, Times], end: float) -> None:
        asked = {
            "post": ("POST", "/api/v1/observations", {"content": "ordinary"}),
            "get": ("GET", "/api/v1/observations?limit=10", None),
            "claim": ("POST", "/api/v1/tasks/claim-next", {"ttl_seconds": 1}),
            "page": ("GET", "/", None),
        }
        with httpx2.Client(base_url=self.url, headers=headers, timeout=30) as client:
            while time.monotonic() < end:
                for name in names:
                    method, path, body = asked[name]
                    begun = time.monotonic()
                    try:
                        answer = client.request(method, path, json=body)
                        if answer.status_code not in (200, 201, 204):
                            made[name].failed.append(f"{name}: {answer.status_code} {answer.text[:200]}")
                    except httpx2.HTTPError as error:
                        made[name].failed.append(f"{name}: {error!r}")
                    made[name].seconds.append(time.monotonic() - begun)
                    time.sleep(0.03)


class Memory:
    """The highest that the web process had, sampled while it is watched. `read` gives bytes."""

    def __init__(self, read: object) -> None:
        self._read = read
        self.highest = 0

    def now(self) -> int:
        return int(self._read())  # type: ignore[operator]

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.highest, stop = 0, threading.Event()

        def watch() -> None:
            while not stop.wait(0.1):
                self.highest = max(self.highest, self.now())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def attacking(job: Job) -> Iterator[None]:
    """The attack goes on for the block, in a process of its own."""
    command = [sys.executable, "-m", "tests.proofs.i21_neighbours"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdin is not None
        assert attacker.stdout is not None
        attacker.stdin.write(json.dumps(asdict(job)) + "\n")
        attacker.stdin.flush()
        assert attacker.stdout.readline() == "begun\n"
        try:
            yield
        finally:
            attacker.kill()


def run(victims: Victims, job: Job, seconds: float) -> Seen:
    """Time the victims in quiet, beside the attack and after it."""
    port = int(victims.url.rsplit(":", 1)[1])
    victims.times(1)  # warm
    with dummy() as other, attacking(Job(**{**asdict(job), "port": other})):
        quiet = victims.times(seconds)
    before = victims.memory.now()
    with victims.memory.watched(), attacking(Job(**{**asdict(job), "port": port})):
        beside = victims.times(seconds)
    grown = victims.memory.highest - before
    time.sleep(REST_SECONDS)
    after = victims.times(seconds / 2)
    return Seen(
        *({name: times.p95 for name, times in made.items()} for made in (quiet, beside, after)),
        failed=[words for made in (beside, after) for times in made.values() for words in times.failed],
        grown=grown / (1 << 20),
        left=(victims.memory.now() - before) / (1 << 20),
    )


@contextmanager
def dummy() -> Iterator[int]:
    """A port that takes everything in and refuses it at once, of a process of its own."""
    command = [sys.executable, "-m", "tests.proofs.i21_neighbours", "dummy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


async def _dummy() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(1 << 16):
                writer.write(ANSWER)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _attack(job: Job) -> None:
    attackers = [asyncio.create_task(_connection(job, number)) for number in range(job.connections)]
    await asyncio.sleep(0.5)
    print("begun", flush=True)
    await asyncio.gather(*attackers)


async def _connection(job: Job, number: int) -> None:
    request = bytes.fromhex(job.requests[number % len(job.requests)])
    more = bytes.fromhex(job.more)
    while True:
        with suppress(OSError):
            limit = 1024 if job.way == "unread" else 1 << 16
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", job.port, local_addr=(job.source, 0), limit=limit
            )
            # Ended by a reset: else the system would run out of ports, and the attack would end by itself.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                await _use(job.way, reader, writer, request, more)
            finally:
                writer.transport.abort()
        # It comes again, as attackers do; who holds connections does not flood with opening them.
        await asyncio.sleep(10 if job.way == "hold" else 0.2)


async def _use(
    way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, more: bytes
) -> None:
    if request:
        writer.write(request)
        await writer.drain()
    if way == "hold":
        while await reader.read(1 << 16):
            pass
    elif way == "connect":
        await asyncio.sleep(0.2)
    elif way == "unread":
        await asyncio.sleep(3600)
    elif way == "pour":
        while True:
            writer.write(more)
            await writer.drain()
    else:
        while await reader.read(1 << 16):
            writer.write(request)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(_dummy() if sys.argv[1:] == ["dummy"] else _attack(Job(**json.loads(sys.stdin.readline()))))
