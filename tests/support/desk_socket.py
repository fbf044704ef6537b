"""The desk's socket without a browser: opened with a person's session, and what it is sent."""

import json
from typing import Any

import orjson
from django.conf import settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.factories import Person
from tests.support.signing_in import sign_in
from tests.support.web import Server


def open_socket(
    url: str,
    team: str,
    session: str | None,
    *,
    origin: str | None = None,
    path: str | None = None,
    more: dict[str, str] | None = None,
    **options: Any,
) -> ClientConnection:
    """The desk's socket; `url` is the server's address, which is also the origin unless another is given ("": none)."""
    headers = [("Cookie", f"{settings.SESSION_COOKIE_NAME}={session}")] if session else []
    address = f"{url.replace('http', 'ws', 1)}/{path or f'ws/t/{team}/queue/'}"
    return connect(
        address,
        origin=url if origin is None else origin or None,  # type: ignore[arg-type]
        additional_headers=[*headers, *(more or {}).items()],
        max_size=None,
        legacy=True,
        **options,
    )


def close_code(socket: ClientConnection, seconds: float = 10) -> int | None:
    """Read on until the server closes; its code."""
    try:
        while True:
            socket.recv(timeout=seconds)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def frames(socket: ClientConnection, *, until: str = "ready", seconds: float = 10) -> list[dict[str, Any]]:
    """What comes until a frame of this type (with it)."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] != until:
        found.append(orjson.loads(socket.recv(timeout=seconds)))
    return found


def desk(
    server: Server, person: Person, after: int, task: object = None, view: str = ""
) -> tuple[ClientConnection, list[dict[str, Any]]]:
    """A person's socket that has caught up, and what it was sent on the way. `view`: how its page is narrowed."""
    socket = open_socket(server.url, person.membership.team.slug, sign_in(person))
    socket.send(json.dumps({"after": after, "view": view, **({"task": str(task)} if task else {})}))
    return socket, frames(socket)


def heard(socket: ClientConnection, count: int, seconds: float = 10, type: str = "event") -> list[dict[str, Any]]:
    """The next frames of this type."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        frame = orjson.loads(socket.recv(timeout=seconds))
        found += [frame] if frame["type"] == type else []
    return found
