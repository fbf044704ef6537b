"""Whatever is sent, the answer is a 2xx to 4xx, and a refusal is a problem (I20, in small)."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.api import PROBLEM, Reply
from tests.support.bad_input import KEYS, WRONG, leaves, replaced
from tests.support.endpoints import BODIES, DOORS, READERS, WRITERS, World, make_world
from tests.support.factories import make_team

FEW = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.text(max_size=30) | st.sampled_from(["", "\0", "\ud800", "t", "free", "held", "true", "1", *KEYS])
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 1e308, 5e-324])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def world() -> World:
    """A team to do anything to."""
    return make_world(make_team())


def check(reply: Reply) -> None:
    assert 200 <= reply.status < 500, reply
    if reply.status >= 400:
        assert reply.headers["Content-Type"] == PROBLEM, reply


@FEW
@given(data=st.data())
def test_bodies_with_anything_in_them(world: World, data: st.DataObject) -> None:
    door = data.draw(st.sampled_from(WRITERS))
    good = BODIES[door.path]
    places = list(leaves(good))
    match data.draw(st.sampled_from(["replace", "add", "drop", "whole"] if places else ["add", "whole"])):
        case "replace":
            body: Any = replaced(good, data.draw(st.sampled_from(places))[0], data.draw(values))
        case "add":
            body = {**good, data.draw(texts): data.draw(values)}
        case "drop":
            gone = data.draw(st.sampled_from(sorted(good)))
            body = {name: value for name, value in good.items() if name != gone}
        case _:
            body = data.draw(values)
    if data.draw(st.booleans()) and isinstance(body, dict):  # so that not every one ends as a duplicate
        body = {**body, **({"client_ref": data.draw(texts)} if "client_ref" in good else {})}
    check(world.send(door, json.dumps(body).encode("utf-8", "surrogatepass")))


@FEW
@given(data=st.data())
def test_bytes_for_a_body(world: World, data: st.DataObject) -> None:
    door = data.draw(st.sampled_from(WRITERS))
    raw = bytearray(json.dumps(BODIES[door.path]).encode())
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
        raw[place] = byte
    check(world.send(door, bytes(raw[: data.draw(st.integers(0, len(raw)))])))


@FEW
@given(data=st.data())
def test_queries_with_anything_in_them(world: World, data: st.DataObject) -> None:
    door = data.draw(st.sampled_from(READERS))
    names = st.sampled_from([*sorted(door.parameters), "nope"])
    odd = st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass").hex(" "))
    encoded = odd.map(lambda pairs: "".join(f"%{pair}" for pair in pairs.split()))
    value = st.sampled_from([bad for row in WRONG.values() for bad in row if len(bad) < 1000]) | encoded
    pairs = data.draw(st.lists(st.tuples(names, value), max_size=4))
    check(world.get(door, "?" + "&".join(f"{name}={text}" for name, text in pairs).replace(" ", "%20")))


@FEW
@given(data=st.data())
def test_headers_with_anything_in_them(world: World, data: st.DataObject) -> None:
    door = data.draw(st.sampled_from(DOORS))
    method = data.draw(st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"]))
    names = st.sampled_from(
        ["Authorization", "Idempotency-Key", "If-Match", "Content-Encoding", "Accept", "X-Request-Id", "If-None-Match"]
    )
    # As WSGI hands them on: Latin-1.
    text = st.text(st.characters(max_codepoint=255), max_size=300) | st.sampled_from(
        [f"Bearer {world.api.key}", "*", '"x"', *world.etags.values(), "", "gzip", "text/html"]
    )
    headers = data.draw(st.dictionaries(names, text, max_size=3))
    path = door.path.format(**world.rows)
    reply = world.api.send(method, path, BODIES.get(door.path, {}), headers=headers)
    assert 200 <= reply.status < 500, reply
