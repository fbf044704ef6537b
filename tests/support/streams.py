"""An agent's side of the feed: something to hear of, the long poll, and a reader of the stream (WHATWG HTML)."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from memoryhub.memory.actions import observations
from memoryhub.memory.actions.observations import NewObservation
from tests.support.factories import TestAgent
from tests.support.web import Server


@dataclass(frozen=True)
class Message:
    """One event of the stream; `event` is empty for what only moves the id."""

    id: int | None
    event: str
    data: Any


def log(agent: TestAgent, content: Any = "x", **more: Any) -> Any:
    """Something that happens: an observation of this agent."""
    return observations.log(agent.viewer, item=NewObservation(content=content, **more))


def poll(server: Server, agent: TestAgent, query: str = "", **headers: str) -> httpx2.Response:
    """GET /api/v1/feed."""
    sent = {**agent.headers, **headers}
    return httpx2.get(f"{server.url}/api/v1/feed?{query}", headers=sent, timeout=90)


class Reader:
    """An open stream. `last` is what a client would resume from."""

    def __init__(self, response: httpx2.Response, last: int | None) -> None:
        self.response, self.last = response, last
        self._lines = response.iter_lines()

    def message(self) -> Message:
        """The next event, or the next id without one. Raises StopIteration at the stream's end, httpx2.ReadTimeout."""
        fields: dict[str, str] = {}
        while True:
            line = next(self._lines)
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            if fields.keys() & {"id", "event", "data"}:
                break
            fields = {}
        if "id" in fields:
            self.last = int(fields["id"])
        data = json.loads(fields["data"]) if "data" in fields else None
        return Message(int(fields["id"]) if "id" in fields else None, fields.get("event", ""), data)

    def events(self, count: int) -> list[Message]:
        """The next so many events with data."""
        found: list[Message] = []
        while len(found) < count:
            message = self.message()
            found += [message] if message.event else []
        return found

    def until_end(self) -> list[Message]:
        """What comes until the server ends the stream."""
        found = []
        with contextlib.suppress(StopIteration):
            while True:
                found.append(self.message())
        return found


@contextlib.contextmanager
def opened(
    server: Server | str, agent: TestAgent, query: str = "", *, last: int | None = None, seconds: float = 15
) -> Iterator[Reader]:
    """An open stream; `last`: the Last-Event-ID."""
    url = server if isinstance(server, str) else server.url
    headers = agent.headers if last is None else {**agent.headers, "Last-Event-ID": str(last)}
    timeout = httpx2.Timeout(seconds, connect=10)
    with httpx2.stream("GET", f"{url}/api/v1/feed/stream?{query}", headers=headers, timeout=timeout) as response:
        if response.status_code != 200:
            response.read()
        assert response.status_code == 200, response.text
        yield Reader(response, last)


def refusal(server: Server, agent: TestAgent, query: str = "", **headers: str) -> httpx2.Response:
    """The answer of a stream that does not begin."""
    address = f"{server.url}/api/v1/feed/stream?{query}"
    with httpx2.stream("GET", address, headers={**agent.headers, **headers}, timeout=10) as response:
        assert response.status_code != 200
        response.read()
        return response
