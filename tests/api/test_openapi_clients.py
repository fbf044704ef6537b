"""Clients that generators make of docs/openapi.json: there are no warnings, type checkers pass them, and they work."""

import copy
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from uuid import UUID

import pytest

from agents.openapi import problems
from agents.openapi.operations import Operation, operations
from memoryhub.core.errors import Code
from tests.support import openapi_clients
from tests.support.contract import PATH, description
from tests.support.endpoints import BODIES, DOORS, QUERIES, World, make_world
from tests.support.factories import make_team
from tests.support.openapi_clients import PACKAGE, stumbling_blocks
from tests.support.web import Server

OPERATIONS = operations()
CALLED = [operation for operation in OPERATIONS if not operation.events]
[STREAM] = [operation for operation in OPERATIONS if operation.events]


def statuses_of(operation: Operation) -> set[int]:
    """The statuses that the code says it may be answered with."""
    return {*operation.answers, *operation.refusals}


def faulty(tmp_path: Path, change: Callable[[Any], Any]) -> Path:
    """The description with a fault put in."""
    made = copy.deepcopy(description())
    change(made)
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(made))
    return path


# The description itself


def test_the_description_has_every_operation_status_and_code() -> None:
    described = {
        operation["operationId"]: {int(status) for status in operation["responses"]}
        for methods in description()["paths"].values()
        for operation in methods.values()
    }
    assert described == {operation.id: statuses_of(operation) for operation in OPERATIONS}
    schemas = description()["components"]["schemas"]
    codes = [set(schemas[name]["properties"]["code"]["enum"]) for name in ("Problem", "FieldError")]
    assert codes[0] == set(problems.OF_REQUESTS)
    assert codes[0] | codes[1] == set(Code)


def test_generators_have_nothing_to_stumble_over() -> None:
    assert not stumbling_blocks(description())


FAULTS: dict[str, Callable[[Any], Any]] = {
    "no name of a class": lambda made: made["components"]["schemas"].update({"agents.api.Task": {}}),
    "the name of one of its properties": lambda made: made["components"]["schemas"]["Fact"]["properties"].update(
        {"fact": {"type": "string"}}
    ),
    "default: null": lambda made: made["components"]["schemas"]["NewTask"]["properties"]["client_ref"].update(
        {"default": None}
    ),
    "an array of what?": lambda made: made["components"]["schemas"]["Task"]["properties"]["compartments"].pop("items"),
    "a choice without its type": lambda made: made["components"]["schemas"]["Task"]["properties"]["status"].pop("type"),
    "const": lambda made: made["components"]["schemas"]["Task"]["properties"]["key"].update({"const": "key"}),
    "allOf": lambda made: made["components"]["responses"]["NotFound"]["content"].update(
        {"application/problem+json": {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}]}}}
    ),
    "some clients repeat": lambda made: next(
        parameter
        for parameter in made["paths"]["/api/v1/observations"]["get"]["parameters"]
        if parameter["name"] == "tags"
    ).update({"explode": False}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stumbling_block_is_found(fault: str, tmp_path: Path) -> None:
    """The control of the test before."""
    [found] = stumbling_blocks(json.loads(faulty(tmp_path, FAULTS[fault]).read_text()))
    assert fault in found


def test_every_operation_has_a_summary_of_its_own() -> None:
    paths = description()["paths"].values()
    summaries = [operation["summary"] for methods in paths for operation in methods.values()]
    assert {summary for summary in summaries if summaries.count(summary) > 1} == set()
    assert [summary for summary in summaries if not re.fullmatch(r"[A-Z].{9,99}[^.:;,\s]", summary)] == []


def test_every_tag_is_a_noun_with_a_description() -> None:
    tags = {tag["name"]: tag["description"] for tag in description()["tags"]}
    assert tags.keys() == {operation.noun for operation in OPERATIONS}
    assert [words for words in tags.values() if not re.fullmatch(r"[A-Z].{19,}\.", words) or "agents." in words] == []


# Spectral


def test_spectral_finds_no_fault(tmp_path: Path) -> None:
    assert openapi_clients.spectral(PATH, tmp_path) == []


def test_spectral_finds_a_fault(tmp_path: Path) -> None:
    """The control."""
    [found] = openapi_clients.spectral(faulty(tmp_path, FAULTS["an array of what?"]), tmp_path)
    assert found.startswith("array-items at components/schemas/Task/properties/compartments")


# Python


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Python client, from which it can be imported."""
    folder = tmp_path_factory.mktemp("python")
    assert openapi_clients.python_client(PATH, folder) == []
    sys.path.insert(0, str(folder))
    return folder


def test_mypy_passes_the_python_client(generated: Path) -> None:
    assert openapi_clients.python_types(generated) == []


def test_a_fault_in_the_python_client_is_found(tmp_path: Path) -> None:
    """The control: a header of a `const` makes the generator warn; an object in a text, write what mypy refuses."""

    def change(made: Any) -> None:
        stream = made["paths"]["/api/v1/feed/stream"]["get"]["responses"]["200"]["content"]
        stream["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/FeedEvent"}}
        put = made["paths"]["/api/v1/facts/{key}"]["put"]["parameters"]
        next(found for found in put if found["name"] == "If-None-Match")["schema"] = {"const": "*"}

    [warning] = openapi_clients.python_client(faulty(tmp_path, change), tmp_path)
    assert warning.startswith("WARNING parsing PUT /api/v1/facts/{key}")
    fault, end = openapi_clients.python_types(tmp_path)
    assert 'Argument 1 to "from_dict" of "FeedEvent" has incompatible type "str"' in fault
    assert end.startswith("Found 1 error")


def test_the_python_client_has_every_operation_status_and_code(generated: Path) -> None:
    found = {
        path.stem: set(map(int, re.findall(r"response\.status_code == (\d+)", path.read_text())))
        for path in (generated / PACKAGE / "api").glob("*/[a-z]*.py")
    }
    assert found == {operation.id: statuses_of(operation) for operation in OPERATIONS}
    models = importlib.import_module(f"{PACKAGE}.models")
    assert set(models.ProblemCode) == set(problems.OF_REQUESTS)
    assert {*models.ProblemCode, *models.FieldErrorCode} == set(Code)


class PythonClient:
    """The generated client, with a key, at the running product."""

    def __init__(self, server: Server, key: str) -> None:
        made = importlib.import_module(f"{PACKAGE}.client").AuthenticatedClient
        self.client = made(base_url=server.url, token=key, timeout=30, raise_on_unexpected_status=True)

    def send(self, operation: Operation, **arguments: Any) -> Any:
        return self.module(operation).sync_detailed(client=self.client, **arguments)

    def call(self, operation: Operation, **arguments: Any) -> Any:
        """The answer as the client's model, never a problem; None where there is no body."""
        answer = self.send(operation, **arguments)
        assert answer.status_code in operation.answers, answer
        assert (answer.parsed is None) == (operation.answers[answer.status_code] is None), answer
        if answer.parsed is not None:
            assert plain(answer.parsed.to_dict()) == plain(json.loads(answer.content))
        return answer.parsed

    @staticmethod
    def module(operation: Operation) -> ModuleType:
        """The operation's module; the generator renames `import`, which Python reserves."""
        noun = "import_" if operation.noun == "import" else operation.noun
        return importlib.import_module(f"{PACKAGE}.api.{noun}.{operation.id}")


def plain(node: Any) -> Any:
    """JSON with its times in one of the forms that RFC 3339 has."""
    if isinstance(node, dict):
        return {name: plain(value) for name, value in node.items()}
    if isinstance(node, list):
        return [plain(item) for item in node]
    if isinstance(node, str) and (time := re.fullmatch(r"(\d{4}-\d\d-\d\dT[\d:]{8})(\.\d+)?(Z|\+00:00)", node)):
        return f"{time[1]}{(time[2] or '').rstrip('.0')}Z"
    return node


def arguments_of(operation: Operation, world: World) -> dict[str, Any]:
    """The request of tests/support/endpoints.py, by the names of the generated client."""
    path = next((door.path for door in DOORS if form(door.path) == form(operation.route)), operation.route)
    path = re.sub(r"<\w+:(\w+)>", r"{\1}", path)
    hints = get_type_hints(PythonClient.module(operation).sync_detailed)
    rows = [world.rows[row] for row in re.findall(r"\{(\w+)\}", path)]
    made = {
        name: UUID(row) if hints[name] is UUID else row
        for (_, name), row in zip(operation.path_parameters, rows, strict=True)
    }
    if operation.shape is not None:
        kinds = getattr(hints["body"], "__args__", (hints["body"],))
        made["body"] = kinds[0].from_dict(BODIES[path])
    if operation.method in ("PUT", "PATCH", "DELETE"):
        made["if_match"] = world.etags["fact" if operation.noun == "facts" else "free"]
    query = QUERIES.get(path, "").removeprefix("?").partition("=")
    return {**made, query[0]: query[2]} if query[0] else made


def form(route: str) -> str:
    """An address without the names of its parameters."""
    return re.sub(r"\{\w+\}|<[\w:]+>", "{}", route)


@pytest.fixture(scope="module")
def read_world() -> World:
    """One for all reads, which change nothing."""
    world = make_world(make_team())
    world.rows["escalation_id"] = world.rows["answered"]
    return world


@pytest.mark.parametrize("operation", CALLED, ids=lambda operation: operation.id)
def test_the_python_client_calls_the_operation(
    operation: Operation, generated: Path, server: Server, read_world: World
) -> None:
    world = read_world if operation.method == "GET" else make_world(make_team())
    client = PythonClient(server, world.api.key or "")
    client.call(operation, **arguments_of(operation, world))


def test_a_call_that_is_refused_is_found(generated: Path, server: Server, read_world: World) -> None:
    """The control of the test before: a refusal is a Problem, with its code."""
    [operation] = [operation for operation in OPERATIONS if operation.id == "me_get"]
    client = PythonClient(server, "mh_agent_none")
    assert client.send(operation).parsed.code == Code.UNAUTHORIZED
    with pytest.raises(AssertionError, match=r"HTTPStatus\.UNAUTHORIZED: 401"):
        client.call(operation)


def test_the_python_client_sends_lists(generated: Path, server: Server, read_world: World) -> None:
    """It repeats the parameter for each value."""
    [operation] = [operation for operation in OPERATIONS if operation.id == "observation_list"]
    for content, tags in (("both", ["a", "b"]), ("one", ["a"])):
        read_world.api.make("observations", {"content": content, "tags": tags})
    client = PythonClient(server, read_world.api.key or "")
    assert [row.content for row in client.call(operation, tags=["a", "b"]).results] == ["both"]


def test_what_a_stream_sends_is_of_the_python_clients_models(
    generated: Path, server: Server, read_world: World
) -> None:
    """The client reads no streams: httpx does, by the request that the client makes."""
    models = importlib.import_module(f"{PACKAGE}.models")
    client = PythonClient(server, read_world.api.key or "")
    request = client.module(STREAM)._get_kwargs(after=0)
    found = {}
    with client.client.get_httpx_client().stream(**request) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        while found.keys() != {"FeedEvent", "PushedAlert"}:
            if (line := next(lines)).startswith("event:"):
                kind = "PushedAlert" if line == "event: alert" else "FeedEvent"
                data = json.loads(next(lines).removeprefix("data:"))
                found[kind] = getattr(models, kind).from_dict(data)
                assert plain(found[kind].to_dict()) == plain(data)
                assert not found[kind].additional_properties


# TypeScript

USES = """\
import type { components, operations } from "./schema";
import * as sdk from "./hub";
import { client } from "./hub/client.gen";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : never;
const same = <A, B>(_: Same<A, B>): void => {};

// Node's own, whose types are not installed.
declare const process: { argv: string[]; exit(code: number): never };
declare const console: { log(text: string): void };

async function main(): Promise<void> {
  client.setConfig({ baseUrl: process.argv[2], auth: process.argv[3] });
  const { data: me, error } = await sdk.meGet();
  if (error) same<typeof error.code, components["schemas"]["Problem"]["code"]>(true);
  const found: unknown[] = [me];
  const { stream } = await sdk.feedStream({ query: { after: 0 } });
  for await (const event of stream) {
    same<typeof event, sdk.FeedEvent | sdk.PushedAlert | sdk.FeedServerSentEvent>(true);
    if ("life" in event) found.push({ seq: event.seq, type: event.type });
    if ("insight" in event) {
      found.push({ insight: event.insight });
      break;
    }
  }
  console.log(JSON.stringify(found));
  process.exit(0);
}
main();
"""


def union(values: Iterable[int | str]) -> str:
    return " | ".join(map(json.dumps, values))


def uses() -> str:
    """A program that compiles only where both clients have every operation, status and problem code of the product."""
    lines = [USES]
    for operation in OPERATIONS:
        name = "".join(word.title() for word in operation.id.split("_"))
        statuses = sorted(statuses_of(operation))
        known = [status for status in statuses if not 300 <= status < 400]  # hey-api leaves redirects out, and 304
        lines.append(f'same<keyof operations["{operation.id}"]["responses"], {union(statuses)}>(true);')
        lines.append(f"same<keyof (sdk.{name}Responses & sdk.{name}Errors), {union(known)}>(true);")
    lines.append(f"same<keyof operations, {union([operation.id for operation in OPERATIONS])}>(true);")
    for name, codes in (("Problem", problems.OF_REQUESTS), ("FieldError", list(Code))):
        lines.append(f'same<components["schemas"]["{name}"]["code"], {union(codes)}>(true);')
        lines.append(f'same<sdk.{name}["code"], {union(codes)}>(true);')
    return "\n".join([*lines, ""])


GENERATORS = (openapi_clients.openapi_typescript, openapi_clients.hey_api)


def generate_typescript(path: Path, folder: Path) -> list[list[str]]:
    """The faults that each generator finds; they run side by side."""
    with ThreadPoolExecutor(len(GENERATORS)) as pool:
        return list(pool.map(lambda generate: generate(path, folder), GENERATORS))


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that both generators have written to."""
    folder = tmp_path_factory.mktemp("typescript")
    assert generate_typescript(PATH, folder) == [[], []]
    return folder


def test_the_typescript_clients_compile_and_work(typescript: Path, server: Server, read_world: World) -> None:
    (typescript / "uses.ts").write_text(uses())
    assert openapi_clients.typescript(typescript, "uses.ts") == []
    done = openapi_clients.run(
        openapi_clients.node(), "js/uses.js", server.url, read_world.api.key or "", cwd=typescript
    )
    me, *events, alert = json.loads(done.stdout)
    assert me["actor"]["name"] == read_world.api.name
    assert "task.create" in [event["type"] for event in events]
    assert alert == {"insight": "Look."}


def test_what_the_typescript_generators_cannot_read_is_found(tmp_path: Path) -> None:
    """The control of the fixture: a reference to nothing."""
    faults = generate_typescript(faulty(tmp_path, lambda made: made["components"]["schemas"].pop("Fact")), tmp_path)
    assert ["Fact" in str(found) for found in faults] == [True, True]


def test_a_fault_in_the_typescript_clients_is_found(typescript: Path) -> None:
    """The control: a code that does not exist."""
    (typescript / "wrong.ts").write_text(
        'import type { components } from "./schema";\n'
        'export const code: components["schemas"]["Problem"]["code"] = "none";\n'
    )
    [found] = openapi_clients.typescript(typescript, "wrong.ts")
    assert found.startswith("wrong.ts(2,14): error TS2322: Type '\"none\"' is not assignable")
