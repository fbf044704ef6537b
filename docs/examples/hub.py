"""The API as one agent sees it, with nothing but Python's standard library."""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

ADDRESS = os.environ.get("MEMORYHUB", "http://localhost:8000")


class Refused(Exception):
    """The hub said no. `status` and `code` say why; `problem` is the whole answer (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.code = str(problem.get("code", ""))
        super().__init__(f"{status} {self.code}: {problem.get('detail', '')}")


class Hub:
    """One agent's key. Answers are what the JSON says; `etag` is that of the last answer that had one."""

    def __init__(self, key: str, address: str = ADDRESS) -> None:
        self._key, self._address = key, address
        self.etag = ""

    def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v1/; a parameter that is None is left out."""
        query = urllib.parse.urlencode({name: value for name, value in params.items() if value is not None})
        return self._send("GET", f"{path}?{query}" if query else path)

    def post(self, path: str, **body: Any) -> Any:
        """POST. Its Idempotency-Key makes it safe to send again when the answer was lost on the way."""
        return self._send("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())})

    def create(self, key: str, value: Any, **more: Any) -> Any:
        """Put a fact that must not exist yet."""
        return self._send("PUT", f"facts/{key}", {"value": value, **more}, {"If-None-Match": "*"})

    def change(self, key: str, value: Any, etag: str) -> Any:
        """Put a fact's next version, if the one that was read is still the current one; else Refused with 412."""
        return self._send("PUT", f"facts/{key}", {"value": value}, {"If-Match": etag})

    def _send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  # the address is the user's own
            f"{self._address}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
                self.etag = answer.headers.get("ETag") or self.etag
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.loads(error.read() or b"{}")) from None
        return json.loads(text) if text else None


def agents(*names: str) -> dict[str, Hub]:
    """A Hub for each of these agents, whose keys the environment has (OUTREACH_KEY …; see README.md)."""
    missing = [name for name in names if f"{name.upper()}_KEY" not in os.environ]
    if missing:
        sys.exit(f'No key for {", ".join(missing)}. First: eval "$(sh docs/examples/keys.sh)"')
    return {name: Hub(os.environ[f"{name.upper()}_KEY"]) for name in names}


def say(who: str, what: str) -> None:
    """A line of the story."""
    print(f"{who:>10}  {what}", flush=True)
