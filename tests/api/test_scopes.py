"""A key without the scope is refused whatever it sends, on every address; the scope is that of the description."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from agents.models import Scope
from agents.openapi.operations import operations
from memoryhub.core.access.permissions import VERBS
from tests.support.api import ROOT, Api, make_api
from tests.support.endpoints import DOORS, Door, World
from tests.support.servers import ROOT as FOLDER

TOO_LARGE = b'{"a": "' + b"x" * (1024 * 1024) + b'"}'
# Body and content type; each would be refused with another status if it were looked at.
SENT = [
    (b"{", "application/json"),
    (b"", "application/json"),
    (b'{"nope": 1}', "application/json"),
    (b"\xff", "application/json"),
    (b"a=b", "text/plain"),
    (TOO_LARGE, "application/json"),
]


def told() -> Mapping[tuple[str, str], str | None]:
    """Method and address -> the scope, as the served description has it in words."""
    document = json.loads((FOLDER / "docs" / "openapi.json").read_text())
    found = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            words = operation["description"].rpartition("Scope: `")
            found[method.upper(), path] = words[2].partition("`")[0] if words[1] else None
    return found


@pytest.fixture(scope="module")
def without(whole_world: World) -> dict[str, Api]:
    """Scope -> a key that has all the others."""
    return {
        scope: make_api(whole_world.team, scopes=[other for other in Scope.values if other != scope])
        for scope in Scope.values
    }


def methods_of(door: Door) -> set[str]:
    return door.methods - {"HEAD"}


SCOPES = told()
# (operation's address with `{}` for each parameter, method) -> scope
PLAIN = {
    (method, "/".join("{}" if "{" in step else step for step in path.split("/"))): scope
    for (method, path), scope in SCOPES.items()
}


def scope_of(door: Door, method: str) -> str | None:
    path = "/".join("{}" if "{" in step else step for step in f"{ROOT}{door.path}".split("/"))
    return PLAIN[method, path]


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_the_scope_comes_before_whatever_was_sent(world: World, without: dict[str, Api], door: Door) -> None:
    for method in methods_of(door):
        scope = scope_of(door, method)
        if scope is None:
            assert door.path == "me"
            continue
        path = door.path.format(**world.rows)
        key = without[scope]
        odd: list[tuple[str, dict[str, Any]]] = [
            (f"{path}?nope=1", {}),
            (path, {"Idempotency-Key": ""}),
            (path, {"If-Match": "x"}),
        ]
        for address, headers in [(path, {}), *odd]:
            for body, kind in SENT if method != "GET" else SENT[1:2]:
                reply = key.send(method, address, body, content_type=kind, headers=headers)
                assert reply.refusal == (403, "forbidden"), (method, address, headers, body[:20], reply)
                assert scope in reply.data["detail"]
        reply = world.api.send(method, f"{path}?nope=1", b"{")  # the control: who has the scope is told what is wrong
        assert reply.status in (400, 415), (method, path, reply)


def test_every_write_needs_the_scope_of_its_action() -> None:
    for operation in operations():
        if (verb := VERBS.get(operation.id.replace("_", ".", 1))) is not None and operation.method != "GET":
            assert operation.scope == verb.scope, operation.id
