"""A2: no answer lives on when it is sent: what a process takes for large answers, it gives back by itself."""

import time

import httpx
import pytest

from tests.conftest import Server, web
from tests.factories import TestAgent, make_agent, make_team
from tests.live.raw import memory_of

MB = 1 << 20
WARM = 40  # reads before it is measured: each thread makes its connection and its buffers


@pytest.fixture(scope="module")
def agent() -> TestAgent:
    return make_agent(make_team("memory"))


def grown(server: Server, agent: TestAgent, reads: int) -> float:
    """By how many MB the process has grown after so many reads of 6 MB."""
    with httpx.Client(base_url=server.url, headers=agent.headers, timeout=60) as client:
        rows = client.get("/api/v1/observations?limit=100").json()["results"]
        for _ in range(25 - len(rows)):
            assert client.post("/api/v1/observations", json={"content": "x" * 250_000}).status_code == 201
        for _ in range(WARM):
            assert len(client.get("/api/v1/observations?limit=100").content) > 6_000_000
        before = memory_of(server)
        for _ in range(reads):
            assert client.get("/api/v1/observations?limit=100").status_code == 200
        time.sleep(1)
        return (memory_of(server) - before) / MB


def test_memory_after_a_thousand_large_reads_is_as_before(server: Server, agent: TestAgent, full: bool) -> None:
    assert grown(server, agent, 1000 if full else 150) < 50


def test_the_control_in_which_each_answer_lives_on_is_caught(agent: TestAgent) -> None:
    with web("cycles", application="tests.live.cycles_control:application") as broken:
        assert grown(broken, agent, 60) > 100
