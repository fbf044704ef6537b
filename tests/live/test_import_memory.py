"""What an import of 64 MiB takes of the web process: beside its text little memory, whatever its form."""

import gzip
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from agents.models import DEFAULT_SCOPES
from tests.support.factories import make_agent, make_team
from tests.support.web import Server, web

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A process of its own, whose memory no other test has used."""
    with web("import-memory") as server:
        yield server


def peak(server: Server) -> int:
    """The most bytes that the process has had in memory since reset()."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.popen.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@contextmanager
def within(server: Server, most: int) -> Iterator[None]:
    Path(f"/proc/{server.process.popen.pid}/clear_refs").write_text("5")  # the peak begins anew
    before, begun = peak(server), time.monotonic()
    yield
    grown, seconds = peak(server) - before, time.monotonic() - begun
    print(f"{grown / MIB:.0f} MiB of memory, {seconds:.1f} s")
    assert grown < most


def turns(number: int, size: int, wide: bool = False) -> list[Any]:
    """Messages as agents have them, of `size` bytes in all, and at most 10,000."""
    story = "The guest in room 12 asks for a later check-out, which is possible until noon. " * (
        25 if size < MIB else 100
    )
    story = "\U0001f426" + story if wide else story
    one = [
        {"role": "user", "content": f"{number}: {story}"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "get_room", "arguments": '{"number": 12}'}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": orjson.dumps({"log": [story, story]}).decode()},
        {"role": "assistant", "content": story},
    ]
    return one * (size // len(orjson.dumps(one)))


def post(server: Server, body: bytes, **headers: str) -> Any:
    agent = make_agent(make_team(), scopes=[*DEFAULT_SCOPES, "import"])
    sent = {**agent.headers, "Content-Type": "application/json", "Content-Encoding": "gzip", **headers}
    return httpx2.post(f"{server.url}/api/v1/import/trajectories", content=body, headers=sent, timeout=300)


def bodies() -> dict[str, bytes]:
    waiting = [f'{{"a":"\U0001f426{"x" * (2 * MIB)}"}}'] * 31
    asked = [
        {"role": "assistant", "tool_calls": [{"id": str(number), "function": {"name": "get_x", "arguments": text}}]}
        for number, text in enumerate(waiting)
    ]
    told = [{"role": "tool", "tool_call_id": str(number), "content": "ok"} for number in range(len(asked))]
    many = [{"task_id": f"run-{number}", "messages": turns(number, 640_000)} for number in range(100)]
    return {
        "a hundred runs": orjson.dumps({"runs": many}),
        "calls that wait": orjson.dumps([{"messages": asked + told}]),
        "one run": orjson.dumps({"task_id": "one", "messages": turns(0, 63 * MIB)}),
        "one run in wide characters": orjson.dumps({"task_id": "wide", "messages": turns(0, 63 * MIB, wide=True)}),
        "eight large messages": orjson.dumps(
            {"messages": [{"role": "user", "content": "\U0001f426" + "x" * (8 * MIB - 1000)} for _ in range(7)]}
        ),
    }


# A text with one character beyond the BMP takes four bytes for each of its characters.
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("a hundred runs", 120),
        ("one run", 120),
        ("one run in wide characters", 120),
        ("eight large messages", 200),
        ("calls that wait", 200),
    ],
)
def test_an_import_of_64_mib_takes_little_memory_beside_its_text(own: Server, name: str, most: int) -> None:
    assert post(own, gzip.compress(b'{"messages":[{"role":"user","content":"warm"}]}')).status_code == 200
    body = bodies()[name]
    assert 55 * MIB < len(body) < 64 * MIB, len(body)
    zipped = gzip.compress(body, 1)
    with within(own, most * MIB):
        reply = post(own, zipped)
    assert reply.status_code == 200, reply.text[:1000]


def test_a_bomb_takes_no_more_memory_than_what_is_allowed(own: Server) -> None:
    bomb = gzip.compress(b" " * (900 * MIB), 1)
    with within(own, 90 * MIB):
        assert post(own, bomb).status_code == 413
