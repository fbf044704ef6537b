"""What each session of the app role begins with, and what is answered where a limit of it is reached."""

import time
from typing import Any

import httpx
import psycopg
from django.conf import settings
from django.db import connection

from memoryhub.config.launch import web_command
from tests import servers
from tests.factories import make_agent, make_team


def test_every_session_of_the_app_role_has_its_limits() -> None:
    wanted = {
        "statement_timeout": f"{settings.STATEMENT_SECONDS}s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
        "synchronous_commit": "local",
        "enable_seqscan": "off",
    }
    with connection.cursor() as cursor:
        found = {}
        for name in wanted:
            cursor.execute(f"show {name}")
            found[name] = cursor.fetchone()[0]
    assert found == wanted | ({"statement_timeout": "10min"} if settings.STATEMENT_SECONDS == 600 else {})


def test_who_waits_too_long_is_answered_503_and_nothing_is_kept(owner_sql: psycopg.Connection[Any]) -> None:
    agent, port = make_agent(make_team()), servers.free_port()
    url, limits = f"http://127.0.0.1:{port}", {"LOCK_SECONDS": "1", "STATEMENT_SECONDS": "2"}
    body = {"content": "late", "client_ref": "late"}
    with (
        servers.started("limits", web_command(port), lambda _: servers.answers(f"{url}/readyz"), environment=limits),
        httpx.Client(base_url=f"{url}/api/v1/", headers=agent.headers, timeout=60) as client,
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
