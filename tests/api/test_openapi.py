"""The API's description is what the doors say, it is whole, and it is the one that is checked in and served.

`UPDATE_OPENAPI=1 pytest tests/api/test_openapi.py` writes docs/openapi.json, docs/problems.md and the examples.
"""

import json
import os
import re
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from agents.openapi import document, problems
from agents.openapi.operations import ROOT, WAITING, Operation, operations
from agents.openapi.parameters import HEADERS
from memoryhub.core.access.permissions import VERBS
from memoryhub.core.errors import Code
from tests.support import contract
from tests.support.api import Reply
from tests.support.contract import validator
from tests.support.endpoints import BODIES, DOORS, Door, make_world
from tests.support.factories import make_team
from tests.support.servers import ROOT as PROJECT

UPDATE = "UPDATE_OPENAPI" in os.environ
AGAIN = "UPDATE_OPENAPI=1 pytest tests/api/test_openapi.py writes it; look at what changed"
OPERATIONS = operations()
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


def test_the_description_is_the_one_that_is_checked_in(request: pytest.FixtureRequest) -> None:
    if UPDATE:
        examples = record(request)
        document.EXAMPLES.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")
    for name, made in (("openapi.json", document.as_text()), ("problems.md", problems.markdown())):
        path = PROJECT / "docs" / name
        if UPDATE:
            path.write_text(made)
            contract.description.cache_clear()
        assert path.read_text() == made, AGAIN


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The description, as it is now."""
    return document.document()


def test_it_is_openapi(made: dict[str, Any]) -> None:
    assert not list(OpenAPIV31SpecValidator(made).iter_errors())


def test_every_code_and_status_has_its_sentence() -> None:
    assert problems.OF_REQUESTS.keys() | problems.OF_FIELDS.keys() == set(Code)
    assert problems.STATUSES.keys() == {status for operation in OPERATIONS for status in operation.refusals} | {410}


def test_every_header_of_a_door_is_in_the_table() -> None:
    assert {name for operation in OPERATIONS for name, _ in operation.headers} <= HEADERS.keys()


def test_every_door_is_told() -> None:
    told = {(operation.method, operation.route) for operation in OPERATIONS}
    served = {(door.method, door.path) for door in DOORS if door.method} | {
        ("GET", door.path) for door in DOORS if door.reads
    }
    served |= {("DELETE", door.path) for door in DOORS if hasattr(door.view, "delete")}
    assert len(told) == len(served) + len(WAITING)


@every_operation
def test_a_change_is_named_as_its_verb(operation: Operation) -> None:
    """So that a client finds the same word in the description, the ledger and the tools."""
    if "Idempotency-Key" in dict(operation.headers) and operation.id != "import_trajectories":  # made of other verbs
        assert operation.id.replace("_", ".", 1) in VERBS, "name it in NAMES of agents/openapi/operations.py"


@every_operation
def test_what_happens_to_several_at_once_is_told(operation: Operation) -> None:
    words = "at once|[Cc]oncurrent|meanwhile|takes no locks|one (moment|snapshot|transaction)|changes? nothing"
    words += "|Linearizable|None ever changes"
    assert re.search(words, operation.description), (
        f"The docstring of {operation.id}'s door does not say what several at once meet ({words})"
    )


# Examples: what tests/support/endpoints.py sends and what it is answered with, in the words of a story.

STORY = {
    "free": "order-1042",
    "held": "order-1043",
    "done": "order-1041",
    "asked": "order-1040",
    "told": "order-1039",
    "new": "order-1044",
    "Title": "Refund for order 1044",
    "New": "Refund for order 1042, second request",
    "Ada": "ada@example.com",
    "text": "the parcel was never scanned after the 14th",
    "tag": "shipping",
    "mail": "refund",
    "r": "run-7-step-3",
    "q": "Refund although it is two days late?",
    "k": "refund:order-1042",
    "Since.": "The carrier admits the loss.",
    "It came back.": "The customer says that the money has not arrived.",
    "No rule.": "It is two days beyond what the policy allows.",
    "What now?": "Refund although it is two days late?",
    "None.": "Refund: the loss is the carrier's.",
    "Solved.": "The parcel has arrived after all.",
    "Yes.": "Yes, this once.",
    "o": "1042",
    "a": "channel",
    "b": "e-mail",
}


class Story:
    """Names, ids and times as they stand in the examples, whatever they were."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names, self._ids = STORY | names, dict[str, str]()

    def tell(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {("channel" if name == "a" else name): self._member(name, value) for name, value in node.items()}
        if isinstance(node, list):
            return [self.tell(item) for item in node]
        return self._text(node) if isinstance(node, str) else node

    def _member(self, name: str, value: Any) -> Any:
        if name in ("median", "p90") and value is not None:
            return 42.5  # seconds, which differ from run to run
        # These words are the product's own, though they may be somebody's key, too.
        return value if name in ("status", "state", "outcome") and isinstance(value, str) else self.tell(value)

    def _text(self, text: str) -> str:
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
            return self._ids.setdefault(text, f"0198c0de-0000-7000-8000-{len(self._ids) + 1:012}")
        if re.fullmatch(r"20\d\d-\d\d-\d\dT.*Z", text):
            return "2026-01-31T09:30:00Z"
        return self._names.get(text, re.sub("-[0-9a-f]{12}$", "", text))  # unique() makes names so


def operation_of(method: str, path: str) -> Operation:
    """The operation of an address as tests/support/endpoints.py has it: `tasks/{free}/claim`."""
    form = re.sub(r"\{[a-z_]+\}", "{}", ROOT + path)
    [found] = [
        operation
        for operation in OPERATIONS
        if operation.method == method and re.sub(r"\{[a-z_]+\}", "{}", operation.path) == form
    ]
    return found


def body_of(door: Door) -> Any:
    return Story({}).tell(BODIES[door.path])


@pytest.mark.parametrize("door", [door for door in DOORS if door.method], ids=str)
def test_the_example_of_a_body_has_every_field(door: Door, made: dict[str, Any]) -> None:
    """So that test_bad_bodies breaks each of them."""
    operation = operation_of(str(door.method), door.path)
    described = made["paths"][operation.path][operation.method.lower()].get("requestBody")
    name = described["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] if described else None
    fields = made["components"]["schemas"][name]["properties"].keys() if name else set()
    assert set(BODIES[door.path]) == set(fields)


def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Send every example in a world of its own: what it was, and what came."""
    made: dict[str, Any] = {}
    for door in DOORS:
        for method in [door.method] * bool(door.method) + ["GET"] * door.reads:
            world = make_world(make_team())
            story = Story({world.api.name: "support-agent", world.team.slug: "acme"})
            body = BODIES[door.path] if method != "GET" else None
            query = "?q=seen" if door.path == "search" else ""
            reply = world.send(door, body) if method != "GET" else world.get(door, query)
            entry = note(made, operation_of(str(method), door.path), story, reply)
            rows = [world.rows[row] for row in re.findall(r"\{([a-z_]+)\}", door.path)]
            names = [name for _, name in operation_of(str(method), door.path).path_parameters]
            entry["path"] = dict(zip(names, story.tell(rows), strict=True))
            if body is not None:
                entry["body"] = body_of(door)
    native(made, request.getfixturevalue("server").url)
    return dict(sorted(made.items()))


def note(made: dict[str, Any], operation: Operation, story: Story, reply: Reply) -> dict[str, Any]:
    assert reply.status < 300, reply
    entry: dict[str, Any] = made.setdefault(operation.id, {})
    entry["answers"] = {str(reply.status): story.tell(reply.data)} if reply.data is not None else {}
    return entry


def native(made: dict[str, Any], url: str) -> None:
    for door in WAITING:
        if door.media_type == "application/json":
            world = make_world(make_team())
            rows = {"escalation_id": world.rows["answered"]}
            operation = operation_of("GET", re.sub(r"<[a-z_]+:([a-z_]+)>", r"{\1}", door.route))
            key = {"Authorization": f"Bearer {world.api.key}"}
            got = httpx2.get(url + operation.path.format(**rows), headers=key, timeout=30)
            story = Story({world.api.name: "support-agent"})
            entry = note(made, operation, story, Reply(got.status_code, got.json(), got.headers))
            entry["path"] = {name: story.tell(rows[name]) for _, name in operation.path_parameters}


@pytest.mark.parametrize("door", [door for door in DOORS if door.method], ids=str)
def test_the_example_of_a_body_is_one_that_the_server_takes(door: Door) -> None:
    """test_bad_bodies sends what is in BODIES; the example is the same in other words."""
    examples = json.loads(document.EXAMPLES.read_text())
    assert examples[operation_of(str(door.method), door.path).id]["body"] == body_of(door), AGAIN


@every_operation
def test_every_body_and_answer_has_an_example_that_fits_its_schema(operation: Operation, made: dict[str, Any]) -> None:
    told = made["paths"][operation.path][operation.method.lower()]
    contents = [told["requestBody"]["content"]["application/json"]] if "requestBody" in told else []
    answers = [answer.get("content", {}) for status, answer in told["responses"].items() if status < "3"]
    shown = [found["application/json"] for found in answers if "application/json" in found]
    assert not shown or any("example" in content for content in shown), AGAIN
    assert all("example" in content for content in contents), AGAIN
    for content in [*contents, *(content for content in shown if "example" in content)]:
        faults = [error.message for error in validator(content["schema"]).iter_errors(content["example"])]
        assert not faults, (faults, content["example"])
