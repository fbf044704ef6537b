"""Many open sockets, one event: how long after it was sent each of them has heard it, from outside.

It runs in its own process (`python -m bench.fanout`, a job as JSON on standard input, milliseconds by round on standard
output), on raw connections: WebSocket frames are parsed as far as their length.
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

HEAR_SECONDS = 20.0


@dataclass(frozen=True)
class Job:
    """`hello`: what each socket sends after its handshake, `ready`: what the answer to it contains; `heard`: what the
    frame of an event contains; `events`: the requests that cause them, in hex, one a round.
    """

    port: int
    sockets: int
    handshake: str
    hello: str
    ready: str
    heard: str
    events: list[str] = field(default_factory=list)


def run(job: Job) -> list[list[float]]:
    """The milliseconds of each socket, by round. Raises RuntimeError when one does not hear."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.fanout"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError("the sockets failed; the output is above")
    return cast(list[list[float]], json.loads(done.stdout))


class _Socket(asyncio.Protocol):
    """One connection. `came`: when the awaited frame was whole."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.received = bytearray()
        self.awaited = b""
        self.came = 0.0
        self.is_open = False
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def itself(self) -> "_Socket":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.job.handshake.encode())

    def data_received(self, data: bytes) -> None:
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
            if self.awaited and self.received.find(self.awaited, 0, size) >= 0:
                self.came, self.awaited = time.perf_counter(), b""
                self.whole.set_result(None)
            del self.received[:size]

    def wait_for(self, words: str) -> None:
        self.awaited = words.encode()
        self.whole = asyncio.get_running_loop().create_future()

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


async def _measure(job: Job) -> list[list[float]]:
    sockets = await open_sockets(job)
    reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
    rounds = []
    for event in job.events:
        for one in sockets:
            one.wait_for(job.heard)
        await asyncio.sleep(0.3)
        sent = time.perf_counter()
        writer.write(bytes.fromhex(event))
        async with asyncio.timeout(HEAR_SECONDS):
            await asyncio.gather(*(one.whole for one in sockets))
        status = await reader.readuntil(b"\r\n\r\n")
        if status[9:11] != b"20":
            raise RuntimeError(status.decode())
        await reader.readexactly(int(status.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        rounds.append([1000 * (one.came - sent) for one in sockets])
    return rounds


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measure(Job(**json.load(sys.stdin))))))
