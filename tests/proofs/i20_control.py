"""The same server with three faults: a page for a crash, a status that is not told, an answer of another shape."""

import json
from typing import Any

from memoryhub.config.asgi import application as sound

FAULTS = {
    ("POST", "/api/v1/tasks"): (500, "text/html", b"<h1>Server Error (500)</h1>"),
    ("GET", "/api/v1/agents"): (418, "application/json", b"{}"),
    ("GET", "/api/v1/me"): (200, "application/json", json.dumps({"actor": None}).encode()),
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    fault = FAULTS.get((scope.get("method"), scope.get("path")))
    if fault is None:
        await sound(scope, receive, send)
        return
    status, kind, body = fault
    headers = [(b"content-type", kind.encode()), (b"x-request-id", b"control-control")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
