"""A2: no answer, transaction or connection lives on when it is over: what was taken for it is given back at once."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.factories import TestAgent, make_agent, make_person, make_team
from tests.support.raw_http import connected, head, read_one
from tests.support.signing_in import sign_in
from tests.support.web import Server, memory_of, web

MB = 1 << 20
WARM = 40  # reads before it is measured: each thread makes its connection and its buffers


@pytest.fixture(scope="module")
def agent() -> TestAgent:
    return make_agent(make_team("memory"))


def grown(server: Server, agent: TestAgent, reads: int) -> float:
    """By how many MB the process has grown after so many reads of 6 MB."""
    with httpx2.Client(base_url=server.url, headers=agent.headers, timeout=60) as client:
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


@pytest.fixture(scope="module")
def counted() -> Iterator[Server]:
    """A server that tells what only its collector could free."""
    with web("cycles-counted", application="tests.live.cycles_counted:application") as server:
        httpx2.get(f"{server.url}/cycles", timeout=30)  # what its start left
        yield server


def in_cycles(server: Server) -> dict[str, int]:
    time.sleep(0.3)
    return dict(httpx2.get(f"{server.url}/cycles", timeout=30).json())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/healthz", None),
        ("GET", "/api/v1/observations?limit=100", None),
        ("POST", "/api/v1/observations", b'{"content": "x"}'),
        ("POST", "/api/v1/observations", b"{"),
        ("GET", "/api/v1/feed?after=0", None),
        ("GET", "/nothing", None),
    ],
)
def test_nothing_of_a_request_or_its_connection_is_in_a_cycle(
    counted: Server, agent: TestAgent, method: str, path: str, body: bytes | None
) -> None:
    lines = [f"Authorization: Bearer {agent.key}", "Content-Type: application/json"]
    request = head(method, path, *lines, *([] if body is None else [f"Content-Length: {len(body)}"])) + (body or b"")
    for _ in range(10):
        with connected(counted) as connection:
            for _ in range(2):
                connection.sendall(request)
                read_one(connection)
    assert in_cycles(counted) == {}


def test_nothing_of_a_connection_that_is_cut_or_says_nothing_is_in_a_cycle(counted: Server, agent: TestAgent) -> None:
    start = head("POST", "/api/v1/observations", f"Authorization: Bearer {agent.key}", "Content-Length: 100")
    for sent in (b"", b"GET /api/v1/me HT", start, start + b'{"content": 1', b"\0\r\n\r\n"):
        for _ in range(5):
            with connected(counted) as connection:
                connection.sendall(sent)
    assert in_cycles(counted) == {}


def test_nothing_of_a_page_is_in_a_cycle(counted: Server, agent: TestAgent) -> None:
    session = sign_in(make_person(make_team("pages")))
    for _ in range(5):
        with httpx2.Client(base_url=counted.url, headers={"Cookie": f"sessionid={session}"}, timeout=30) as client:
            assert client.get("/", follow_redirects=True).status_code == 200
    assert in_cycles(counted) == {}


@pytest.mark.parametrize("path", ["/api/v1/feed?wait=5", "/api/v1/feed/stream"])
def test_nothing_of_who_waits_and_leaves_is_in_a_cycle(counted: Server, agent: TestAgent, path: str) -> None:
    for _ in range(5):
        with connected(counted) as connection:
            connection.sendall(head("GET", path, f"Authorization: Bearer {agent.key}"))
            time.sleep(0.3)
    assert in_cycles(counted) == {}
