"""The agents' API as a client sees it: one key, and what each request is answered with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import orjson
from django.db import connection

from memoryhub.core.models import Sensitivity, Team
from tests.support import contract
from tests.support.clients import new_client
from tests.support.factories import TestAgent, make_agent

ROOT = "/api/v1/"
PROBLEM = "application/problem+json"
R = TypeVar("R")


class Reply(NamedTuple):
    """Status, parsed body (None without one) and headers of an answer."""

    status: int
    data: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        """The problem's code; None for what is no problem."""
        return self.data.get("code") if self.headers.get("Content-Type") == PROBLEM else None

    @property
    def refusal(self) -> tuple[int, str | None]:
        """Status and code together, to compare with what is due."""
        return self.status, self.code


class Api:
    """The public door, for one key. `agent` is whose key it is, when the test made one."""

    def __init__(self, key: str | None, agent: TestAgent | None = None) -> None:
        self.key = key
        self.agent = agent
        self._client = new_client(raise_request_exception=False)

    @property
    def name(self) -> str:
        """What the team calls this agent."""
        assert self.agent is not None
        return self.agent.name

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> Reply:
        """Any request, whose answer must be one that the API's description tells.

        `body`: a JSON value, or bytes as they are; `key`: an Idempotency-Key; `extra`: WSGI.
        """
        sent = dict(headers or {})
        if self.key is not None:
            sent.setdefault("Authorization", f"Bearer {self.key}")
        if key is not None:
            sent["Idempotency-Key"] = key
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        address = path if path.startswith("/") else ROOT + path
        response = self._client.generic(method, address, raw, content_type, headers=sent, **extra)
        kind = response.headers.get("Content-Type", "")
        data = json.loads(response.content) if response.content and "json" in kind else None
        contract.hold(method, address, response.status_code, response.headers, data)
        return Reply(response.status_code, data, dict(response.headers))

    def get(self, path: str, **sent: Any) -> Reply:
        """GET of an address below /api/v1/, or of a whole URL that an answer gave."""
        if path.startswith("http"):
            parts = urlsplit(path)
            path = f"{parts.path}?{parts.query}"
        return self.send("GET", path, **sent)

    def post(self, path: str, body: Any = None, **sent: Any) -> Reply:
        return self.send("POST", path, {} if body is None else body, **sent)

    def patch(self, path: str, body: Any, etag: str | None = None) -> Reply:
        return self.send("PATCH", path, body, headers={} if etag is None else {"If-Match": etag})

    def make(self, path: str, body: Any = None, **sent: Any) -> Any:
        """A POST that must succeed: what it was answered with."""
        reply = self.post(path, body, **sent)
        assert reply.status in (200, 201), reply
        return reply.data

    def results(self, path: str) -> list[Any]:
        """The rows of a list's page."""
        reply = self.get(path)
        assert reply.status == 200, reply
        rows: list[Any] = reply.data["results"]
        return rows


def make_api(
    team: Team, clearance: int = Sensitivity.INTERNAL, compartments: Iterable[str] = (), **options: Any
) -> Api:
    """The API for a new agent of the team; options as of make_agent."""
    agent = make_agent(team, clearance, compartments, **options)
    return Api(agent.key, agent)


def at_once(*functions: Callable[[], R]) -> list[R]:
    """What each returns, when they are begun at one moment, a thread and a connection each."""
    barrier = Barrier(len(functions))

    def run(function: Callable[[], R]) -> R:
        try:
            barrier.wait(timeout=10)
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def size(reply: Reply) -> int:
    """The bytes of an answer's body; it must be a 200."""
    assert reply.status == 200, reply
    return len(orjson.dumps(reply.data))
