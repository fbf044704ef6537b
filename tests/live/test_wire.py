"""PROMISES.md, "Bad input", on the wire: what the parser refuses, or what comes before Django, is a problem, too."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.support.api import Reply
from tests.support.bad_input import check
from tests.support.factories import TestAgent, make_agent, make_team
from tests.support.raw_http import key
from tests.support.web import Server


@pytest.fixture
def agent() -> TestAgent:
    return make_agent(make_team("wire"))


def send(server: Server, raw: bytes) -> Reply:
    """What a connection of its own is answered with."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(raw)
        got = b""
        while part := connection.recv(65536):
            got += part
    head, _, body = got.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(status.split()[1]), json.loads(body) if body else None, headers)


def request(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode("latin-1")


def test_the_good_one_is_answered(server: Server, agent: TestAgent) -> None:
    """The control."""
    assert send(server, request("GET /api/v1/me", key(agent))).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"NOPE /api/v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get /api/v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/me HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-A: a\rb\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-A : a\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    ],
)
def test_what_is_no_request(server: Server, raw: bytes) -> None:
    reply = check(send(server, raw), 400, why=raw)
    assert reply.headers["X-Request-Id"] == reply.data["request_id"]


def test_a_query_of_100_kb(server: Server, agent: TestAgent) -> None:
    for size in (9_000, 60_000, 100_000, 1_000_000):
        reply = check(send(server, request(f"GET /api/v1/tasks?q={'x' * size}", key(agent))), 414, why=size)
        assert reply.code == "uri_too_long"


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "DELETE", "PROPFIND", "QUERY"])
@pytest.mark.parametrize("path", ["me", "tasks", "escalations/0198c0de-0000-7000-8000-000000000000/answer"])
def test_methods_that_an_address_does_not_have(server: Server, agent: TestAgent, method: str, path: str) -> None:
    assert "Allow" in check(send(server, request(f"{method} /api/v1/{path}?nope=1", key(agent))), 405).headers


def test_a_method_is_not_overridden(server: Server, agent: TestAgent) -> None:
    assert send(server, request("GET /api/v1/me", key(agent), "X-HTTP-Method-Override: DELETE")).status == 200


@pytest.mark.parametrize("path", ["me", "escalations/0198c0de-0000-7000-8000-000000000000/answer"])
def test_two_authorization_headers_are_refused_whichever_is_good(server: Server, agent: TestAgent, path: str) -> None:
    good, other = key(agent), f"Authorization: Bearer {make_agent(make_team('wire')).key}"
    for pair in ((good, good), (good, other), (other, good), (good, "Authorization: Bearer x")):
        assert check(send(server, request(f"GET /api/v1/{path}", *pair)), 401).code == "unauthorized"


@pytest.mark.parametrize("path", ["me", "escalations/0198c0de-0000-7000-8000-000000000000/answer"])
def test_a_key_in_the_query_string_opens_nothing(server: Server, agent: TestAgent, path: str) -> None:
    for name in ("key", "api_key", "access_token", "authorization", "Authorization"):
        check(send(server, request(f"GET /api/v1/{path}?{name}={agent.key}")), 401, why=name)
        check(send(server, request(f"GET /api/v1/{path}?{name}={agent.key}", key(agent))), 400, why=name)


def test_a_foreign_host(server: Server, agent: TestAgent) -> None:
    for path in ("me", "openapi.json", "docs", "escalations/0198c0de-0000-7000-8000-000000000000/answer"):
        raw = request(f"GET /api/v1/{path}", key(agent)).replace(b"localhost", b"evil.example")
        check(send(server, raw), 400, why=path)
