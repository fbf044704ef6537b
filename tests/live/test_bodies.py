"""How requests cross from the event loop to a thread: whole bodies, slow clients, broken connections, hosts."""

import contextlib
import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import orjson
import psycopg
import pytest
from django.db import connection

from tests.support.factories import TestAgent, make_agent, make_team
from tests.support.raw_http import connected
from tests.support.web import Server

THREADS = 16


@pytest.fixture
def agent() -> TestAgent:
    return make_agent(make_team("bodies"))


def head(server: Server, agent: TestAgent, *more: str) -> bytes:
    address = urlsplit(server.url).netloc
    lines = [
        "POST /api/v1/observations HTTP/1.1",
        f"Host: {address}",
        f"Authorization: {agent.headers['Authorization']}",
    ]
    return "\r\n".join([*lines, "Content-Type: application/json", *more, "", ""]).encode()


def logged(server: Server, agent: TestAgent) -> list[object]:
    answer = httpx2.get(f"{server.url}/api/v1/observations", headers=agent.headers, timeout=30)
    return [row["content"] for row in answer.json()["results"]]


def test_a_body_in_chunks_is_read_whole(server: Server, agent: TestAgent) -> None:
    body = orjson.dumps({"content": "x" * 200_000})

    def parts() -> Iterator[bytes]:
        for start in range(0, len(body), 30_000):
            yield body[start : start + 30_000]

    headers = {**agent.headers, "Content-Type": "application/json"}
    answer = httpx2.post(f"{server.url}/api/v1/observations", content=parts(), headers=headers, timeout=30)
    assert answer.status_code == 201
    assert len(answer.json()["content"]) == 200_000


def test_a_body_beyond_all_bounds_is_refused_whether_its_length_is_told_or_not(
    server: Server, agent: TestAgent
) -> None:
    headers = {**agent.headers, "Content-Type": "application/json"}
    for content in (b" " * 10_000_000, iter([b" " * 1_000_000] * 10)):
        with contextlib.suppress(httpx2.WriteError):  # it may be answered before it has been sent
            answer = httpx2.post(f"{server.url}/api/v1/observations", content=content, headers=headers, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert logged(server, agent) == []


def test_clients_that_send_slowly_hold_no_thread(server: Server, agent: TestAgent) -> None:
    with contextlib.ExitStack() as open_:
        for sender in (make_agent(make_team("bodies")), make_agent(make_team("bodies"))):
            for _ in range(THREADS):
                slow = open_.enter_context(connected(server))
                slow.sendall(head(server, sender, "Content-Length: 100") + b'{"content": "half')
        begun = time.monotonic()
        assert httpx2.get(f"{server.url}/api/v1/me", headers=agent.headers, timeout=30).status_code == 200
        assert time.monotonic() - begun < 5
    assert logged(server, agent) == []  # none of them is taken for a shorter one


def test_a_foreign_host_is_refused_by_every_door(server: Server, agent: TestAgent) -> None:
    for path in ("/api/v1/me", f"/api/v1/escalations/{uuid4()}/answer"):
        headers = {**agent.headers, "Host": "evil.example"}
        answer = httpx2.get(f"{server.url}{path}", headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), path
    # Who probes a process knows no public name of it.
    assert httpx2.get(f"{server.url}/readyz", headers={"Host": "10.1.2.3"}, timeout=30).status_code == 200


def test_probes_only_read(server: Server) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = httpx2.post(f"{server.url}{path}", timeout=30)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_connections_that_the_database_has_ended_cost_nobody_an_error(server: Server, agent: TestAgent) -> None:
    """As after a restart of PostgreSQL: every kept connection is dead, and the next request on it must not know."""
    with httpx2.Client(base_url=server.url, headers=agent.headers, timeout=30) as client:
        for _ in range(20):
            assert client.get("/api/v1/me").status_code == 200
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as app:
            ended = app.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = current_database() and usename = current_user and pid <> pg_backend_pid()"
            ).fetchone()
        connection.close()  # this process's own, too
        assert ended is not None
        assert ended[0] > 0
        statuses = {
            client.post("/api/v1/observations", json={"content": str(number)}).status_code for number in range(40)
        }
        page = {httpx2.get(f"{server.url}/login/", timeout=30).status_code for _ in range(20)}
    assert (statuses, page) == ({201}, {200})
