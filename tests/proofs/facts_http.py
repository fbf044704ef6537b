"""Facts over HTTP as one agent sees them, a kept connection each, for harnesses that hold every answer to account."""

import http.client
import json
from typing import Any, NamedTuple

ANSWER_SECONDS = 15.0


class Answer(NamedTuple):
    """Status, parsed body (None without one) and ETag."""

    status: int
    data: Any
    tag: str | None


class FactClient:
    """One connection to a web process, with one agent's key. Raises OSError or http.client.HTTPException."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def connect(self) -> None:
        """Connect, unless it is connected."""
        if self._connection.sock is None:
            self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    def get(self, fact: str) -> Answer:
        return self._send("GET", f"/api/v1/facts/{fact}", {})

    def put(self, fact: str, value: object, tag: str | None) -> Answer:
        """Change the version of the tag; without one: make the fact."""
        return self._send("PUT", f"/api/v1/facts/{fact}", _condition(tag), {"value": value})

    def delete(self, fact: str, tag: str) -> Answer:
        return self._send("DELETE", f"/api/v1/facts/{fact}", _condition(tag))

    def history(self, fact: str) -> dict[int, str | None]:
        """Versions and values (None: deleted), all pages of them. Empty for what never was."""
        path, found = f"/api/v1/facts/{fact}/history?limit=100", {}
        while path:
            answer = self._send("GET", path, {})
            if answer.status == 404:
                return {}
            assert answer.status == 200, answer
            found |= {row["version"]: row["value"] for row in answer.data["results"]}
            path = answer.data["next"]
        return found

    def _send(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Answer:
        raw = None if body is None else json.dumps(body)
        self._connection.request(method, path, raw, {**self._headers, **headers})
        answer = self._connection.getresponse()
        told = answer.read()
        return Answer(answer.status, json.loads(told) if told else None, answer.getheader("ETag"))


def version_of(tag: str) -> int:
    """The version in an ETag."""
    return int(tag.strip('"').split(".")[1])


def _condition(tag: str | None) -> dict[str, str]:
    return {"If-Match": tag} if tag else {"If-None-Match": "*"}
