"""A small client of the API for one agent. It retries transient failures and raises the others."""

import asyncio
import uuid
from typing import Any

import httpx2

PASSING = (429, 502, 503, 504)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class RequestRefused(Exception):
    """The API refused. `code` is the problem's code, such as `human_owned` or `lease_lost`."""

    def __init__(self, path: str, status: int, problem: dict[str, Any]) -> None:
        self.code = str(problem.get("code", ""))
        super().__init__(f"{path} was answered {status} {self.code}: {problem.get('detail', '')}".rstrip(": "))


class KeyRefused(Exception):
    """The key is revoked, expired or not a key of this hub: a retry is useless."""


class DemoClient:
    """The API as one agent sees it. `http` has the hub's address as its base URL."""

    def __init__(self, http: httpx2.AsyncClient, name: str, key: str) -> None:
        self.name = name
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}"}

    async def get(self, path: str, **params: Any) -> Any:
        """The JSON answer to a GET below /api/v1/; None for 204. Raises Refused, KeyRefused."""
        return await self._send("GET", path, self._headers, params=params)

    async def post(self, path: str, **body: Any) -> Any:
        """The JSON answer to a POST; None for 204. Raises Refused, KeyRefused.

        Each call has an Idempotency-Key of its own: a retry after a lost response is a no-op.
        """
        headers = {**self._headers, "Idempotency-Key": str(uuid.uuid4())}
        return await self._send("POST", path, headers, json=body)

    async def _send(self, method: str, path: str, headers: dict[str, str], **content: Any) -> Any:
        pause = FIRST_PAUSE
        while True:
            try:
                answer = await self._http.request(method, f"/api/v1/{path}", headers=headers, **content)
            except httpx2.TransportError:  # the server is restarting, or not up yet
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if answer.status_code not in PASSING:
                return _read(answer)
            await asyncio.sleep(_retry_after(answer) or pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _read(answer: httpx2.Response) -> Any:
    if answer.status_code == 401:
        raise KeyRefused
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    raise RequestRefused(answer.request.url.path, answer.status_code, problem if isinstance(problem, dict) else {})


def _retry_after(answer: httpx2.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), 300.0) if text.isdecimal() else 0.0
