"""A browser's side of the desk without a browser: a signed-in session, and its socket."""

from importlib import import_module
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.factories import Person

BACKEND = "memoryhub.core.people.PeopleBackend"


def sign_in(person: Person) -> str:
    """The key of a new session of this person, as signing in makes it."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.actor.id)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = person.actor.get_session_auth_hash()
    session.save(must_create=True)
    return str(session.session_key)


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
