"""The API's description (OpenAPI 3.1), worked out from the doors: shapes of bodies, types of answers, docstrings.

docs/openapi.json is what it makes; `UPDATE_OPENAPI=1 pytest tests/api/test_openapi.py` writes it, and a test compares.
"""

import importlib
import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from agents.api.withheld import READS
from agents.models import Scope
from agents.openapi import problems
from agents.openapi.operations import Operation, operations
from agents.openapi.parameters import Undocumented, header_parameter, query_parameter
from memoryhub.interface.http.problems import CONTENT_TYPE
from memoryhub.interface.http.shapes import FactKey, TaskKey

Json = dict[str, Any]

EXAMPLES = Path(__file__).with_name("examples.json")
_REFERENCE = "#/components/schemas/{name}"

_ABOUT = """\
The shared memory of a team's AI agents. All addresses want `Authorization: Bearer <key>`; the team is the key's.

- Bodies are JSON objects, at most 1 MiB (a batch: 8 MiB), 32 levels deep, of 200,000 lists and objects, with numbers
  within 2^53, and 0 or from 1e-100 on (what is beyond stands as a text: stored, a number is written out, and read
  again as another type); a text holds no NUL. What is unknown, repeated, read-only or of another type is refused, with
  its place.
- A time is RFC 3339, with an offset from -14:00 to +14:00; in UTC its year is from 1 to 9999.
- Refusals are `application/problem+json` (RFC 9457). A client may branch on `code`.
- Hidden and absent are the same answer, everywhere.
- Every change is one transaction, on disk before it is answered. With an `Idempotency-Key` it may be sent again safely.
- Every read is one snapshot. Lists are followed by the address in `next`, which neither skips nor repeats a row.
"""


def document() -> Json:
    """The whole description. Raises Undocumented for what has no words yet."""
    found = operations()
    if len({operation.id for operation in found}) < len(found):
        raise Undocumented(f"two operations have one name: {sorted(operation.id for operation in found)}")
    schemas, components = _schemas(found)
    examples = json.loads(EXAMPLES.read_text()) if EXAMPLES.exists() else {}
    paths: Json = {}
    for operation in found:
        made = _operation(operation, schemas, examples.get(operation.id, {}))
        paths.setdefault(operation.path, {})[operation.method.lower()] = made
    statuses = sorted({status for operation in found for status in operation.refusals})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "memoryhub",
            "version": "1",
            "summary": "A team's agents, one memory.",
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": _tags(found),
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEYS}},
            "headers": _HEADERS,
            "responses": {_name_of(status): _refusal(status) for status in statuses},
            "schemas": dict(sorted({**components, **_PROBLEM}.items())),
        },
    }


def as_text() -> str:
    """docs/openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _tags(found: Iterable[Operation]) -> list[Json]:
    made: dict[str, Json] = {}
    for operation in found:
        words = importlib.import_module(operation.module).__doc__ or ""
        about = words.partition("\n")[0].partition(": ")[2].removesuffix(".")
        made.setdefault(operation.noun, {"name": operation.noun, "description": f"{about[:1].upper()}{about[1:]}."})
    return list(made.values())


# Schemas


def _schemas(found: Iterable[Operation]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Schema of each type by its representation, and the components that they refer to."""
    types = {str(kind): kind for operation in found for kind in _types_of(operation)}
    made, components = msgspec.json.schema_components(types.values(), ref_template=_REFERENCE)
    tidy = {name: _tidy(schema) for name, schema in components.items()}
    for name, schema in tidy.items():
        _refuse_bare_times(name, schema)
    names = {name: _page_name(name) for name in tidy}
    return (
        dict(zip(types, (_renamed(_tidy(schema), names) for schema in made), strict=True)),
        {names[name]: _renamed(schema, names) for name, schema in tidy.items()},
    )


def _types_of(operation: Operation) -> list[Any]:
    return [kind for kind in (operation.shape, *operation.answers.values(), *operation.events) if kind is not None]


def _page_name(name: str) -> str:
    """`Listed_Task_`, as msgspec has it, is a TaskPage."""
    return re.sub(r"^Listed_(\w+)_$", r"\1Page", name)


def _renamed(schema: Json, names: dict[str, str]) -> Json:
    text = json.dumps(schema)
    for name, better in names.items():
        text = text.replace(f'"{_REFERENCE.format(name=name)}"', f'"{_REFERENCE.format(name=better)}"')
    renamed: Json = json.loads(text)
    return renamed


def _tidy(node: Any) -> Any:
    """Without msgspec's titles, and with patterns that ECMA-262 reads, too."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: _tidy(value) for name, value in node.items() if not (name == "title" and isinstance(value, str))}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = portable(made["pattern"])
    return made


def portable(pattern: str) -> str:
    """A pattern of Python's as one that other languages read, too: without its ranges beyond the BMP.

    So much wider: a text of nothing but invisible characters from there fits the description, and is refused.
    """
    return re.sub("[\U00010000-\U0010ffff]-[\U00010000-\U0010ffff]", "", pattern)


def _refuse_bare_times(name: str, schema: Json) -> None:
    for field, kind in schema.get("properties", {}).items():
        kinds = kind.get("anyOf", [kind])
        if field.endswith("_at") and {"type": "string"} in kinds:
            raise Undocumented(f"{name}.{field} is a time without its offset: use Instant of memoryhub.memory.answers")


# Operations


def _operation(operation: Operation, schemas: dict[str, Json], example: Json) -> Json:
    summary = re.split(r"(?<=[.])\s|:\s|;\s", operation.description, maxsplit=1)[0].rstrip(".:;").replace("\n", " ")
    scope = f"\n\nScope: `{operation.scope}`." if operation.scope else ""
    if operation.scope in READS:
        scope += f" Without `{READS[operation.scope]}` rows are answered without what others have stored (`omitted`)."
    made: Json = {
        "operationId": operation.id,
        "tags": [operation.noun],
        "summary": summary,
        "description": operation.description + scope,
    }
    if parameters := [*_path_parameters(operation, example), *_parameters(operation)]:
        made["parameters"] = parameters
    if operation.shape is not None:
        content: Json = {"schema": schemas[str(operation.shape)]}
        if "body" in example:
            content["example"] = example["body"]
        made["requestBody"] = {"required": operation.body_required, "content": {"application/json": content}}
    made["responses"] = _responses(operation, schemas, example)
    return made


_PATH_SCHEMAS: dict[str, Json] = {
    "task_key": msgspec.json.schema(TaskKey),
    "fact_key": msgspec.json.schema(FactKey),
    "uuid": {"type": "string", "format": "uuid"},
}


def _path_parameters(operation: Operation, example: Json) -> Iterable[Json]:
    for converter, name in operation.path_parameters:
        schema = _PATH_SCHEMAS[converter]
        made: Json = {"name": name, "in": "path", "required": True, "schema": schema}
        if name in example.get("path", {}):
            made["example"] = example["path"][name]
        yield made


def _parameters(operation: Operation) -> Iterable[Json]:
    for name in sorted(operation.parameters):
        yield _tidy(query_parameter(operation.noun, name))
    for name, required in operation.headers:
        yield header_parameter(operation.method, name, required=required)


def _responses(operation: Operation, schemas: dict[str, Json], example: Json) -> Json:
    made: Json = {}
    for status, kind in sorted(operation.answers.items()):
        headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
        answer: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
        if kind is not None:
            fields = getattr(kind, "__annotations__", {})
            if "version" in fields:
                headers["ETag"] = {"$ref": "#/components/headers/ETag"}
            schema = schemas[str(kind)]
            if schema.get("$ref", "").endswith("Page"):
                headers["Link"] = {"$ref": "#/components/headers/Link"}
            content: Json = {"schema": _event(operation, schemas) if operation.events else schema}
            if str(status) in example.get("answers", {}):
                content["example"] = example["answers"][str(status)]
            answer["content"] = {operation.media_type: content}
            if "format" in operation.parameters:
                answer["content"]["text/csv"] = {"schema": {"type": "string"}}
        made[str(status)] = answer
    for status in sorted(operation.refusals):
        made[str(status)] = {"$ref": f"#/components/responses/{_name_of(status)}"}
    return made


def _event(operation: Operation, schemas: dict[str, Json]) -> Json:
    """One event of a stream: before OpenAPI 3.2 the schema of a stream is that of each event."""
    held = {"anyOf": [schemas[str(kind)] for kind in operation.events]}
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
            "event": {"type": "string"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": held},
        },
        "required": ["event", "data"],
    }


# What all have in common

_KEYS = f"An agent's key, `mh_agent_…`. Its scopes are some of: {', '.join(Scope.values)}."
_HEADERS: Json = {
    "X-Request-Id": {
        "description": "The request's id, which stands in the server's log: the caller's own, when it is a plain one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
    },
    "ETag": {
        "description": "The row's version, for If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f-]{36}\\.[1-9][0-9]*\\.[0-9a-f]{8}"$'},
    },
    "Link": {"description": "The neighbouring pages (RFC 8288), where there are any.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds until it is worth trying again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "WWW-Authenticate": {"description": "How to identify oneself.", "required": True, "schema": {"type": "string"}},
}
_PROBLEM: dict[str, Json] = {
    "FieldError": {
        "type": "object",
        "description": "One fault. `pointer`: its place in the body (RFC 6901), or `?name` for a query's parameter.",
        "properties": {
            "pointer": {"type": "string"},
            "code": {"type": "string", "enum": sorted({*problems.OF_FIELDS, *problems.OF_REQUESTS})},
            "detail": {"type": "string"},
        },
        "required": ["pointer", "code", "detail"],
        "additionalProperties": False,
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457. A 409 and a 412 have the present state as further members.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "enum": sorted(problems.OF_REQUESTS)},
            "detail": {"type": "string", "minLength": 1},
            "errors": {"type": "array", "items": {"$ref": _REFERENCE.format(name="FieldError")}},
            "request_id": {"type": "string"},
        },
        "required": ["type", "title", "status", "code", "detail", "errors", "request_id"],
    },
}


def _name_of(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _refusal(status: int) -> Json:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    for name, statuses in (("WWW-Authenticate", (401,)), ("Retry-After", (429, 503))):
        if status in statuses:
            headers[name] = {"$ref": f"#/components/headers/{name}"}
    problem = {"$ref": _REFERENCE.format(name="Problem")}
    schema = {"allOf": [problem, {"properties": {"status": {"const": status}}}]}
    return {
        "description": problems.STATUSES[status],
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": schema}},
    }
