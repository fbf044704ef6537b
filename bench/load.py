"""A light closed-loop HTTP load generator: raw sockets, persistent connections, requests encoded in advance.

It runs in its own process (`python -m bench.load`, a job as JSON on standard input, its figures on standard output), so
that it shares only the machine with the server. Each connection sends its next request when the last is answered. Any
other status than the expected one ends the run: a fast refusal is no result.
"""

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

IF_MATCH = b"<if-match>"
ANSWER_SECONDS = 20.0  # a server that has not answered by then hangs


@dataclass(frozen=True)
class Job:
    """What to send: requests in hex, distributed over the connections; the seconds of warm-up and of counting.

    `tags`: the first ETag of each request, which replaces IF_MATCH in it; from then on that of the last answer.
    """

    port: int
    requests: list[str]
    status: int
    connections: int = 16
    warm_seconds: float = 0.5
    seconds: float = 2.0
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """The answers while counting: in total, per second, and percentiles of latency in milliseconds."""

    answered: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def encode(method: str, path: str, port: int, key: str = "", body: object = None, *, if_match: str = "") -> bytes:
    """One HTTP/1.1 request."""
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if if_match:
        lines.append(f"If-Match: {if_match}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def run(job: Job) -> Figures:
    """Run a job in its own process. Raises RuntimeError when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError("the load generator failed; its output is above")
    return Figures(**json.loads(done.stdout))


class Client:
    """One persistent connection, one request at a time: for latencies, from this process."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, bytes, float]:
        """The answer's status and body, and the seconds that it took."""
        begun = time.perf_counter()
        self._socket.sendall(request)
        data = b""
        while (size := answer_size(data)) is None or len(data) < size:
            received = self._socket.recv(262144)
            if not received:
                raise RuntimeError("the server closed the connection")
            data += received
        self._answer = data
        return int(data[9:12]), data.partition(b"\r\n\r\n")[2], time.perf_counter() - begun

    def tag(self) -> str:
        """The ETag of the last answer."""
        return _tag(self._answer).decode()

    def close(self) -> None:
        self._socket.close()


def answer_size(data: bytes | bytearray) -> int | None:
    """The size in bytes of the answer that begins here; None until its head is complete. Raises RuntimeError without
    one.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise RuntimeError(f"an answer without Content-Length: {head.decode('latin-1')}")
    return end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])


def _tag(data: bytes | bytearray) -> bytes:
    """The ETag of an answer."""
    at = data.lower().index(b"\r\netag:") + 7
    return bytes(data[at : data.index(b"\r\n", at)]).strip()


class _Connection(asyncio.Protocol):
    """Repeats its request until it is stopped."""

    def __init__(self, request: bytes, status: bytes, ended: "asyncio.Future[None]", tag: str | None) -> None:
        self.request, self.status, self.ended = request, status, ended
        self.tag = tag.encode() if tag else None
        self.taken: list[tuple[float, float]] = []
        self.received = bytearray()
        self.stopping = False

    def itself(self) -> "_Connection":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request.replace(IF_MATCH, self.tag, 1) if self.tag else self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        size = answer_size(self.received)
        if size is None or len(self.received) < size:
            return
        now = time.perf_counter()
        if self.received[9:12] != self.status:
            self.connection_lost(RuntimeError(self.received.decode("utf-8", "replace")[:2000]))
            return
        self.taken.append((now, now - self.sent))
        if self.tag:
            self.tag = _tag(self.received)
        self.received.clear()
        if self.stopping:
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is not None or not self.stopping:
            self.ended.set_exception(error or RuntimeError("the server closed the connection"))
        else:
            self.ended.set_result(None)


async def _load(job: Job) -> Figures:
    loop = asyncio.get_running_loop()
    connections = []
    for index in range(job.connections):
        request = bytes.fromhex(job.requests[index % len(job.requests)])
        tag = job.tags[index % len(job.tags)] if job.tags else None
        connection = _Connection(request, str(job.status).encode(), loop.create_future(), tag)
        await loop.create_connection(connection.itself, "127.0.0.1", job.port)
        connections.append(connection)
    begin = time.perf_counter() + job.warm_seconds
    end = begin + job.seconds
    loop.call_later(job.warm_seconds + job.seconds, _stop, connections)
    async with asyncio.timeout(job.warm_seconds + job.seconds + ANSWER_SECONDS):
        await asyncio.gather(*(connection.ended for connection in connections))
    taken = sorted(took for made in connections for at, took in made.taken if begin <= at < end)
    if len(taken) < 20:
        raise RuntimeError(f"only {len(taken)} answers: too few for percentiles")
    cuts = statistics.quantiles(taken, n=100)
    return Figures(len(taken), len(taken) / job.seconds, *(round(1000 * cuts[at], 3) for at in (49, 94, 98)))


def _stop(connections: list[_Connection]) -> None:
    for connection in connections:
        connection.stopping = True


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(_load(Job(**json.load(sys.stdin)))))))
