"""What each session of the app role begins with, and what is answered where a limit of it is reached."""

import os
import socket
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
from django.conf import settings
from django.db import connection

from memoryhub.run.launch import web_command
from tests.proofs.flaky_proxy import Gate
from tests.support import servers
from tests.support.factories import make_agent, make_team


def test_every_session_of_the_app_role_has_its_limits() -> None:
    wanted = {
        "statement_timeout": f"{settings.STATEMENT_SECONDS}s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
        "synchronous_commit": "local",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
    }
    with connection.cursor() as cursor:
        found = {}
        for name in wanted:
            cursor.execute(f"show {name}")
            found[name] = cursor.fetchone()[0]
    assert found == wanted | ({"statement_timeout": "10min"} if settings.STATEMENT_SECONDS == 600 else {})


def test_a_server_that_vanishes_is_found_out_after_ten_seconds() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
        assert wire.family in (socket.AF_INET, socket.AF_INET6)
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 2


def test_who_waits_too_long_is_answered_503_and_nothing_is_kept(owner_sql: psycopg.Connection[Any]) -> None:
    agent, port = make_agent(make_team()), servers.free_port()
    url, limits = f"http://127.0.0.1:{port}", {"LOCK_SECONDS": "1", "STATEMENT_SECONDS": "2"}
    body = {"content": "late", "client_ref": "late"}
    with (
        servers.started("limits", web_command(port), lambda _: servers.answers(f"{url}/readyz"), environment=limits),
        httpx2.Client(base_url=f"{url}/api/v1/", headers=agent.headers, timeout=60) as client,
    ):
        with owner_sql.transaction():
            owner_sql.execute("lock table observation in access exclusive mode")
            begun = time.monotonic()
            late = client.post("observations", json=body)
            read = client.get("observations")
            seconds = time.monotonic() - begun
        assert [(found.status_code, found.json()["code"]) for found in (late, read)] == [(503, "unavailable")] * 2
        assert all(int(found.headers["Retry-After"]) >= 1 for found in (late, read))
        assert seconds < 30, "nothing ended the wait"
        assert client.get("observations").json()["results"] == []
        assert client.post("observations", json=body).status_code == 201


def test_a_server_that_hangs_is_given_up_and_asked_again_when_it_is_back() -> None:
    agent, port = make_agent(make_team()), servers.free_port()
    url, told = f"http://127.0.0.1:{port}", urlsplit(os.environ["DATABASE_URL"])
    gate = Gate(told.port or 5432)
    address = told._replace(netloc=told.netloc.replace(f":{told.port}", f":{gate.port}")).geturl()
    environment = {"DATABASE_URL": address, "STATEMENT_SECONDS": "2"}
    ready = partial(servers.answers, f"{url}/readyz")
    try:
        with (
            servers.started("hanging", web_command(port), lambda _: ready(), environment=environment),
            httpx2.Client(base_url=f"{url}/api/v1/", headers=agent.headers, timeout=60) as client,
        ):
            assert client.get("observations").status_code == 200
            gate.stick()
            begun = time.monotonic()
            answer = client.get("observations")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert 6 < time.monotonic() - begun < 20
            gate.open()
            deadline = time.monotonic() + 20
            while client.get("observations").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        gate.close()
