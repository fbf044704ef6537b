"""Many open sockets and an event: how long after it was sent each of them has heard it; and many events: what was
lost.

It runs in its own process (`python -m bench.fanout`, a job as JSON on standard input, what was found as JSON on
standard output), on raw connections: WebSocket frames are parsed as far as their length.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

HEAR_SECONDS = 20.0
DRAIN_SECONDS = 5.0
CALLERS = 8  # connections on which a flood of events is sent


@dataclass(frozen=True)
class Job:
    """`hello`: what each socket sends after its handshake, `ready`: what the answer to it contains; `heard`: what each
    frame of an event contains, once; `events`: the requests that cause them, in hex. `rate`: how many a second are
    sent, whatever has been heard; 0: each when all have heard the one before.
    """

    port: int
    sockets: int
    handshake: str
    hello: str
    ready: str
    heard: str
    events: list[str] = field(default_factory=list)
    rate: float = 0.0


def delays(job: Job) -> list[tuple[float, float]]:
    """Of each event the milliseconds until the first socket has heard it, and until 99 of 100 have.

    Raises RuntimeError when one does not hear.
    """
    return [(first, late) for first, late in cast(list[list[float]], _run(job))]


def flood(job: Job) -> tuple[int, float]:
    """How many frames were not heard DRAIN_SECONDS after the last event, and in how many seconds these were sent."""
    lost, seconds = cast(list[float], _run(job))
    return int(lost), seconds


def _run(job: Job) -> object:
    done = subprocess.run(
        [sys.executable, "-m", "bench.fanout"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError("the sockets failed; the output is above")
    return json.loads(done.stdout)


class _Socket(asyncio.Protocol):
    """One connection. `left`: how many frames are awaited yet; `came`: when the last of them was whole."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.received = bytearray()
        self.awaited = b""
        self.left = 1
        self.came = 0.0
        self.is_open = self.is_flooded = False
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def itself(self) -> "_Socket":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.job.handshake.encode())

    def data_received(self, data: bytes) -> None:
        if self.is_flooded:
            self._count(data)
            return
        self.received += data
        if not self.is_open:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self.received.startswith(b"HTTP/1.1 101"):
                self.whole.set_exception(RuntimeError(self.received.decode("utf-8", "replace")[:1000]))
                return
            del self.received[: end + 4]
            self.is_open = True
            self.awaited = self.job.ready.encode()
            self.transport.write(_frame(self.job.hello.encode()))
        while (size := _size(self.received)) is not None and len(self.received) >= size:
            if self.left and self.received.find(self.awaited, 0, size) >= 0:
                self.left -= 1
                if not self.left:
                    self.came = time.perf_counter()
                    self.whole.set_result(None)
            del self.received[:size]

    def wait_for(self, words: str) -> None:
        self.awaited, self.left = words.encode(), 1
        self.whole = asyncio.get_running_loop().create_future()

    def wait_for_flood(self, words: str, times: int) -> None:
        """From now on frames are only counted, by words that each has once: parsing them takes too long."""
        self.wait_for(words)
        self.left, self.is_flooded = times, True

    def _count(self, data: bytes) -> None:
        self.received += data
        self.left -= self.received.count(self.awaited)
        del self.received[: max(0, len(self.received) - len(self.awaited) + 1)]  # cut words count later
        if self.left <= 0 and not self.whole.done():
            self.whole.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.whole.done():
            self.whole.set_exception(error or RuntimeError("the server closed a socket"))


def _frame(text: bytes) -> bytes:
    """A client's text frame, masked by zeros (RFC 6455, 5.2)."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def _size(data: bytearray) -> int | None:
    """The size of the server's frame that begins here; None until its head is there."""
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    if length < 126:
        return 2 + length
    wide = 2 if length == 126 else 8
    return 2 + wide + int.from_bytes(data[2 : 2 + wide]) if len(data) >= 2 + wide else None


async def open_sockets(job: Job) -> list[_Socket]:
    """The sockets, each when its server has answered its hello."""
    loop = asyncio.get_running_loop()
    sockets: list[_Socket] = []
    for number in range(job.sockets):
        made = _Socket(job)
        await loop.create_connection(made.itself, "127.0.0.1", job.port)
        sockets.append(made)
        if number % 50 == 49:
            async with asyncio.timeout(HEAR_SECONDS):
                await asyncio.gather(*(one.whole for one in sockets))
    return sockets


@contextmanager
def held(job: Job) -> Iterator[None]:
    """The sockets, open and reading in a thread of this process; their frames are counted by nobody."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        sockets = asyncio.run_coroutine_threadsafe(open_sockets(job), loop).result()
        yield
        for one in sockets:
            loop.call_soon_threadsafe(one.transport.abort)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _flood(job: Job) -> tuple[int, float]:
    sockets = await open_sockets(job)
    for one in sockets:
        one.wait_for_flood(job.heard, len(job.events))
    begun = time.perf_counter()

    async def caller(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
        for number in range(first, len(job.events), CALLERS):
            await asyncio.sleep(begun + number / job.rate - time.perf_counter())
            await _send(reader, writer, job.events[number])
        writer.close()

    await asyncio.gather(*(caller(first) for first in range(CALLERS)))
    seconds = time.perf_counter() - begun
    await asyncio.wait([one.whole for one in sockets], timeout=DRAIN_SECONDS)
    return sum(one.left for one in sockets), seconds


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, event: str) -> None:
    """Send a request and read its answer, which must be a good one."""
    writer.write(bytes.fromhex(event))
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:11] != b"20":
        raise RuntimeError(head.decode())
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))


async def _measure(job: Job) -> list[tuple[float, float]]:
    sockets = await open_sockets(job)
    reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
    rounds = []
    for event in job.events:
        for one in sockets:
            one.wait_for(job.heard)
        await asyncio.sleep(0.3)
        sent = time.perf_counter()
        async with asyncio.timeout(HEAR_SECONDS):
            await asyncio.gather(_send(reader, writer, event), *(one.whole for one in sockets))
        heard = [1000 * (one.came - sent) for one in sockets]
        rounds.append((min(heard), statistics.quantiles(heard, n=100)[98]))
    return rounds


if __name__ == "__main__":
    job = Job(**json.load(sys.stdin))
    print(json.dumps(uvloop.run(_flood(job) if job.rate else _measure(job))))
