"""The API's description (OpenAPI 3.1), generated from the doors: shapes of bodies, types of responses, docstrings.

docs/openapi.json is its output; `UPDATE_OPENAPI=1 pytest tests/api/test_openapi.py` writes it, and a test compares.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from agents.api.withheld import READS
from agents.models import Scope
from agents.openapi import problems
from agents.openapi.operations import Operation, operations
from agents.openapi.parameters import Undocumented, header_parameter, query_parameter
from memoryhub.core.fields import FactKey, TaskKey
from memoryhub.interface.http.problems import CONTENT_TYPE
from memoryhub.interface.http.queries import parameters

Json = dict[str, Any]

EXAMPLES = Path(__file__).with_name("examples.json")
_REFERENCE = "#/components/schemas/{name}"

_ABOUT = """\
The shared memory of a team's AI agents. Every address needs `Authorization: Bearer <key>`; the key determines the team.

- Bodies are JSON objects of at most 1 MiB (a batch: 8 MiB), 32 levels, and 200,000 lists and objects. A number is 0,
  or from 1e-100 to 2^53 in magnitude; send others as strings, since the database would return them as another type.
  Strings hold no NUL. Unknown, repeated, read-only and mistyped fields are refused, with their place; there is no
  coercion.
- A time is RFC 3339, with an offset from -14:00 to +14:00; in UTC its year is from 1 to 9999.
- Refusals are `application/problem+json` (RFC 9457). A client may branch on `code`.
- Hidden and absent are the same answer, everywhere.
- Every change is one transaction, durable before the response. With an `Idempotency-Key` it is safe to send it again.
- Every read is one snapshot. Lists continue at the address in `next`, which neither skips nor repeats a row.
"""


def document() -> Json:
    """The whole description. Raises Undocumented for a part without a description."""
    found = operations()
    if len({operation.id for operation in found}) < len(found):
        raise Undocumented(f"two operations have one name: {sorted(operation.id for operation in found)}")
    schemas, components = _schemas(found)
    components |= _PROBLEM | _messages(found, schemas)
    examples = json.loads(EXAMPLES.read_text()) if EXAMPLES.exists() else {}
    paths: Json = {}
    for operation in found:
        made = _operation(operation, schemas, components, examples.get(operation.id, {}))
        paths.setdefault(operation.path, {})[operation.method.lower()] = made
    statuses = sorted({status for operation in found for status in operation.refusals})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "memoryhub",
            "version": "1",
            "summary": "A team's agents, one memory.",
            "description": _ABOUT,
            "contact": {"name": "The operator of this installation"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": _tags(found),
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEYS}},
            "headers": _HEADERS,
            "responses": {_name_of(status): _refusal(status) for status in statuses},
            "schemas": dict(sorted(components.items())),
        },
    }


def as_text() -> str:
    """docs/openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _tags(found: Iterable[Operation]) -> list[Json]:
    made: dict[str, Json] = {}
    for operation in found:
        words = importlib.import_module(operation.module).__doc__ or ""
        about = re.split(r"\.(?:\s|$)", words.partition("\n")[0].partition(": ")[2])[0]
        made.setdefault(operation.noun, {"name": operation.noun, "description": f"{about[:1].upper()}{about[1:]}."})
    return list(made.values())


# Schemas


def _schemas(found: Iterable[Operation]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Schema of each type by its representation, and the components that they refer to."""
    types = {str(kind): kind for operation in found for kind in _types_of(operation)}
    made, components = msgspec.json.schema_components(types.values(), schema_hook=_choice, ref_template=_REFERENCE)
    for name, schema in components.items():
        _refuse_bare_times(name, schema)
    names = {name: _class_name(name, schema) for name, schema in components.items()}
    if len(set(names.values())) < len(names):
        raise Undocumented(f"two schemas have one name: {sorted(names.values())}")
    references = {_REFERENCE.format(name=name): _REFERENCE.format(name=better) for name, better in names.items()}
    return (
        dict(zip(types, (_tidy(schema, references) for schema in made), strict=True)),
        {names[name]: _tidy(schema, references) for name, schema in components.items()},
    )


def _choice(kind: Any) -> Json:
    """The schema of a model's choices, which msgspec cannot describe: Django's enums have a metaclass of their own."""
    if not issubclass(kind, Enum):
        raise NotImplementedError
    return {"type": "string", "enum": [choice.value for choice in kind]}


def _types_of(operation: Operation) -> list[Any]:
    return [kind for kind in (operation.shape, *operation.answers.values(), *operation.events) if kind is not None]


def _class_name(name: str, schema: Json) -> str:
    """A component's name, as a generated client names its class: msgspec's `Page_Task_` becomes TaskPage.

    A class whose name another module has too is prefixed with its module's. One with a property of its own name gets
    the suffix Object: in some languages a class cannot have a member of its name (C#: CS0542).
    """
    name = re.sub(r"^Page_(.+)_$", r"\1Page", ".".join(name.split(".")[-2:]))
    name = "".join(word[:1].upper() + word[1:] for word in re.split(r"[._]", name))
    members = {member.replace("_", "") for member in schema.get("properties", {})}
    return f"{name}Object" if name.lower() in members else name


def _tidy(node: Any, references: Mapping[str, str] = MappingProxyType({})) -> Any:
    """A schema that every generator accepts, with the references renamed.

    Arrays have `items`, enums of strings a `type`, and patterns are ECMA-262's. A single choice is an `enum`, since
    some reject `const` in a header. `default: null` is removed, since clients would send it.
    """
    if isinstance(node, list):
        return [_tidy(item, references) for item in node]
    if isinstance(node, str):
        return references.get(node, node)
    if not isinstance(node, dict):
        return node
    made = {name: _tidy(value, references) for name, value in node.items()}
    if isinstance(made.get("title"), str):
        del made["title"]
    if isinstance(made.get("description"), str):
        made["description"] = inspect.cleandoc(made["description"])
    if made.get("default", ...) is None:
        del made["default"]
    if isinstance(made.get("pattern"), str):
        made["pattern"] = portable(made["pattern"])
    if isinstance(made.get("const"), str):
        made["enum"] = [made.pop("const")]
    if isinstance(made.get("enum"), list) and all(isinstance(word, str) for word in made["enum"]):
        made["type"] = "string"
    if made.get("type") == "array":
        made.setdefault("items", {})
    return made


def portable(pattern: str) -> str:
    """A Python pattern that other languages accept too: without its ranges beyond the BMP.

    It is wider by these: a string of only invisible characters from there matches the schema, and is refused.
    """
    return re.sub("[\U00010000-\U0010ffff]-[\U00010000-\U0010ffff]", "", pattern)


def _refuse_bare_times(name: str, schema: Json) -> None:
    for field, kind in schema.get("properties", {}).items():
        kinds = kind.get("anyOf", [kind])
        if field.endswith("_at") and {"type": "string"} in kinds:
            raise Undocumented(f"{name}.{field} is a time without its offset: use Instant of memory.schemas.rows")


# Operations


def _operation(operation: Operation, schemas: dict[str, Json], components: dict[str, Json], example: Json) -> Json:
    summary = re.split(r"(?<=[.])\s|:\s|;\s", operation.description, maxsplit=1)[0].rstrip(".:;").replace("\n", " ")
    scope = f"\n\nScope: `{operation.scope}`." if operation.scope else ""
    if operation.scope in READS:
        scope += f" Without `{READS[operation.scope]}` rows are returned without what others have stored (`omitted`)."
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
    made["responses"] = _responses(operation, schemas, components, example)
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
    for parameter in parameters(operation.query):
        yield _tidy(query_parameter(operation.noun, parameter))
    for name, required in operation.headers:
        yield _tidy(header_parameter(operation.method, name, required=required))


def _responses(operation: Operation, schemas: dict[str, Json], components: dict[str, Json], example: Json) -> Json:
    made: Json = {}
    for status, kind in sorted(operation.answers.items()):
        headers = _header_references("X-Request-Id")
        answer: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
        if kind is not None:
            schema = schemas[str(kind)]
            members = components.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {}).keys()
            if "version" in members:
                headers |= _header_references("ETag")
            if {"next", "previous"} <= members:
                headers |= _header_references("Link")
            if operation.events:
                schema = {"$ref": _REFERENCE.format(name=_message_of(operation))}
            content: Json = {"schema": schema}
            if str(status) in example.get("answers", {}):
                content["example"] = example["answers"][str(status)]
            answer["content"] = {operation.media_type: content}
            if "format" in operation.parameters:
                answer["content"]["text/csv"] = {"schema": {"type": "string"}}
        made[str(status)] = answer
    for status in sorted(operation.refusals):
        made[str(status)] = {"$ref": f"#/components/responses/{_name_of(status)}"}
    return made


def _message_of(operation: Operation) -> str:
    return f"{operation.noun.title()}Message"


def _messages(found: Iterable[Operation], schemas: dict[str, Json]) -> dict[str, Json]:
    """The components of streams. OpenAPI before 3.2 does not define what the schema of a stream describes.

    Client generators that read server-sent events (hey-api) take it for each event's parsed `data`; tools that validate
    responses (schemathesis), for each whole event. So it is either.
    """
    made: dict[str, Json] = {}
    for operation in found:
        if not operation.events:
            continue
        name, sent = _message_of(operation), f"{operation.noun.title()}ServerSentEvent"
        kinds = [schemas[str(kind)] for kind in operation.events]
        made[name] = {
            "description": f"The `data` of an event of the stream, parsed; or the whole event as it is sent ({sent}).",
            "anyOf": [*kinds, {"$ref": _REFERENCE.format(name=sent)}],
        }
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": kinds}}
        made[sent] = {
            "type": "object",
            "properties": {
                "id": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
                "event": {"type": "string"},
                "data": data,
            },
            "required": ["event", "data"],
        }
    return made


# Shared components

_KEYS = f"An agent's key, `mh_agent_…`. Its scopes are some of: {', '.join(Scope.values)}."
_HEADERS: Json = {
    "X-Request-Id": {
        "description": "The request's id, as in the server's log: the client's own, when it has this form.",
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
        "description": "Seconds to wait before a retry.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": {"type": "string"}},
}
_PROBLEM: dict[str, Json] = {
    "FieldError": {
        "type": "object",
        "description": "One fault. `pointer`: its place in the body (RFC 6901), or `?name` for a query parameter.",
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
        "description": "RFC 9457. A 409 and a 412 have the current state as further members.",
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

# The further headers of refusals.
_HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def _header_references(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _name_of(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _refusal(status: int) -> Json:
    return {
        "description": problems.STATUSES[status],
        "headers": _header_references("X-Request-Id", *_HEADERS_OF.get(status, ())),
        "content": {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
    }
