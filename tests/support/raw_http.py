"""Connections of a test's own, byte by byte: from another loopback address, slowly, or without ever reading."""

import json
import socket
import time
from urllib.parse import urlsplit

from tests.support.factories import TestAgent
from tests.support.web import Server


def connected(server: Server, *, source: str = "127.0.0.1", seconds: float = 30) -> socket.socket:
    """A new connection to the server, from this address of the loopback."""
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port or 80), timeout=seconds, source_address=(source, 0))


def head(method: str, path: str, *lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1")


def key(agent: TestAgent) -> str:
    """The line with the agent's key."""
    return f"Authorization: Bearer {agent.key}"


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset ends it as well."""
    got = b""
    try:
        while part := connection.recv(1 << 20):
            got += part
    except ConnectionError:
        pass
    return got


def read_one(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer with a Content-Length: its status, headers and body. Raises EOFError."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(65536)
        if not part:
            raise EOFError(got)
        got += part
    start, _, body = got.partition(b"\r\n\r\n")
    status, *lines = start.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        part = connection.recv(65536)
        if not part:
            raise EOFError(got)
        body += part
    return int(status.split()[1]), headers, body


def refusal(connection: socket.socket) -> tuple[int, str | None]:
    """Status and code of the one answer; (0, None) when the connection was closed without any."""
    try:
        status, _, body = read_one(connection)
    except (EOFError, ConnectionError):
        return 0, None
    return status, json.loads(body).get("code") if body.startswith(b"{") else None


def seconds_until_closed(connection: socket.socket, *, most: float = 30) -> float:
    """How long the server keeps it, while nothing is sent."""
    begun = time.monotonic()
    connection.settimeout(most)
    read_all(connection)
    return time.monotonic() - begun
