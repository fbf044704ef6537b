"""PROMISES.md, "Bad input": what surrounds a body, over every address of the API."""

import json

import pytest

from agents.api.doors import BodyEndpoint
from tests.support.bad_input import WRONG, check
from tests.support.endpoints import BODIES, DOORS, QUERIES, READERS, WRITERS, Door, World

every_writer = pytest.mark.parametrize("door", WRITERS, ids=str)
every_reader = pytest.mark.parametrize("door", READERS, ids=str)


def test_every_address_is_known_here(world: World) -> None:
    assert {door.path for door in WRITERS} == BODIES.keys()
    for door in READERS:
        assert world.get(door, QUERIES.get(door.path, "")).status == 200, door


def test_ids_that_are_none(world: World) -> None:
    body = BODIES["decisions"]
    good = "0198c0de-0000-7000-8000-000000000000"
    for bad in (
        "abc",
        2**64 - 1,
        str(2**64),
        f"{{{good}}}",
        f"urn:uuid:{good}",
        f" {good}",
        good[:-1],
        "\u0660" * 36,
        None,
    ):
        check(world.api.post("decisions", {**body, "based_on": [bad]}), 400, why=bad)
    check(world.api.post("decisions", {**body, "based_on": [good] * 101}), 400)
    for door in DOORS:
        if "{queued}" in door.path or "{answered}" in door.path:
            for bad in ("abc", str(2**64), f"%7B{good}%7D", good.upper(), "%D9%A1", "%00", good[:-1], good + "0"):
                path = door.path.format(queued=bad, answered=bad)
                sent = {door.method or "GET", "GET" if door.reads else door.method}
                for method in sent:
                    check(world.api.send(str(method), path, BODIES.get(door.path)), 404, why=path)


# What surrounds a body


@every_writer
def test_media_types(world: World, door: Door) -> None:
    good = json.dumps(BODIES[door.path]).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=bogus",
        "application/json; charset=utf-16",
        "application/xml",
        "",
    ):
        if good != b"{}" or not door.signature.is_body_optional:
            assert check(world.send(door, good, content_type=kind), 415, why=kind).code == "unsupported_media_type"
    assert issubclass(door.view, BodyEndpoint)
    for encoding in {"gzip", "br", "identity", "deflate", ""} - {*door.view.encodings}:
        check(world.send(door, good, headers={"Content-Encoding": encoding}), 415, why=encoding)


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_other_methods(world: World, door: Door) -> None:
    allowed = door.methods
    reserved = door.view.in_place_of[1]  # an address in a key's place: test_addresses
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "NOPE", "CONNECT"} - allowed - reserved:
        reply = check(world.api.send(method, door.path.format(**world.rows), {}), 405, why=method)
        assert (
            set(reply.headers["Allow"].replace("OPTIONS", "").replace(" ", "").strip(",").split(",")) - {""} <= allowed
        )


def test_a_method_is_not_overridden(world: World) -> None:
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert world.api.send("GET", "tasks", {"key": "new", "title": "T"}, headers={header: "POST"}).status == 200
    check(world.api.post("tasks?_method=GET", {"key": "new", "title": "T"}), 400)


def test_addresses_that_are_none(world: World) -> None:
    for path in (
        "nope",
        "tasks/",
        "tasks//claim",
        "tasks/a%2Fb",  # with its slash decoded; over the wire: test_addresses
        "tasks/free/nope",
        "Tasks",
        "../v1/tasks",
        "tasks/free/claim/",
    ):
        check(world.api.get(path), 404, why=path)
        check(world.api.post(path), 404, why=path)


def test_a_foreign_host(world: World) -> None:
    for host in ("evil.example", "localhost.evil.example", "a b", "localhost\r\nX: y", ""):
        reply = world.api.send("GET", "tasks", HTTP_HOST=host)
        check(reply, 400, why=host)


def test_cr_and_lf_in_values(world: World) -> None:
    for body in ({"key": "new", "title": "a\r\nb"}, {"key": "new", "title": "a\nb"}, {"key": "a\r\n", "title": "T"}):
        check(world.api.post("tasks", body), 400, why=body)
    check(world.api.get("agents?cursor=%0D%0A"), 400)
    reply = world.api.get("me", headers={"X-Request-Id": "a\r\nSet-Cookie: x=y"})
    assert "\n" not in reply.headers["X-Request-Id"]


# Queries


@every_reader
def test_queries(world: World, door: Door) -> None:
    for query in ("nope=1", "ordering=key", "order_by=id", "%00=1", "%ff=1", "id=abc", "team=x", "page=2", "=", "=x"):
        check(world.get(door, f"?{query}"), 400, why=query)
    for query in ("a=" + "x" * 100_000, "&" * 9000):
        check(world.get(door, f"?{query}"), 414, why=query[:20])
    for name in door.parameters:
        twice = () if name in door.lists else (f"{name}=1&{name}=1",)  # a list may be sent so
        for query in (f"{name}=", f"{name}=%00", f"{name}=%ff", f"{name}=%ED%A0%80", *twice):
            check(world.get(door, f"?{query}"), 400, why=query)


@every_reader
def test_parameters_that_are_none(world: World, door: Door) -> None:
    for name in door.parameters:
        is_package = door.path.endswith("/package")  # whose pages may have more
        for bad in ("10001" if is_package and bad == "101" else bad for bad in WRONG[name]):
            value = bad.replace("+", "%2B") if name in ("since", "until", "limit") else bad
            reply = check(world.get(door, f"?{name}={value}"), 414 if len(value) > 8000 else 400, why=(name, bad))
            assert reply.data["errors"] == [] or reply.data["errors"][0]["pointer"] == f"?{name}"


def test_searching_for_odd_words(world: World) -> None:
    for word in (
        "'",
        "%25",
        "_",
        "%5C",
        "a%20%26%20%7C%20b",
        "''%20or%201=1--",
        "%22",
        "*",
        "%C3%A9",
        "%F0%9F%98%80",
        "{}",
    ):
        reply = world.api.get(f"tasks?q={word}")
        assert (reply.status, reply.data["results"]) == (200, []), word
    for name in ("agent", "exclude_agent"):
        assert world.api.get(f"observations?{name}='%20or%201=1--").status == 200


@every_writer
def test_writes_take_no_query(world: World, door: Door) -> None:
    for query in ("nope=1", "limit=1", "team=x", "%00=1"):
        path = f"{door.path.format(**world.rows)}?{query}"
        reply = world.api.send(str(door.method), path, BODIES[door.path], headers=world.headers(door))
        check(reply, 400, why=query)
