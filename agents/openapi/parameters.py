"""The parameters of an operation in the API's description: those of a door's Query, and its headers."""

from typing import Any, get_args, get_origin

import msgspec

from memoryhub.core.fields import COMPARTMENT, Key, TaskKey, Text, When
from memoryhub.interface.http.params import MAX_WORDS, NamedLabel
from memoryhub.interface.http.queries import Parameter

Schema = dict[str, Any]

_TEXT: Schema = msgspec.json.schema(Text)
_LABEL = COMPARTMENT.removeprefix("^").partition("$")[0]
# Types with another form in a query than in JSON.
_OWN: dict[Any, Schema] = {
    When: {"type": "string", "format": "date-time"},
    NamedLabel: {"type": "string", "pattern": rf"^(public|internal|confidential)(\+{_LABEL})*$"},
    float: {"type": "string", "pattern": r"^(0(\.[0-9]{1,17})?|1(\.0{1,17})?)$", "examples": ["0.5"]},
    bool: {"type": "boolean"},
}
# Parameters that are required, although their fields have a default.
REQUIRED = frozenset({"search?q"})
HEADERS: dict[str, tuple[str, Schema]] = {
    "Idempotency-Key": (
        "For 24 hours a repeated request with this key and the same body changes nothing and gets the same response.",
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
    ),
    "If-Match": (
        "The ETag that was read; the change is made only while it is current.",
        {
            "type": "string",
            "pattern": '^"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.[1-9][0-9]{0,8}(\\.[0-9a-f]{8})?"$',
            "examples": ['"0198c0de-0000-7000-8000-000000000001.3.5f0c2a91"'],
        },
    ),
    "If-None-Match": ("`*`: only create what does not exist.", {"type": "string", "const": "*"}),
    "GET If-None-Match": ("The ETag of a version that you have: 304 while it is current.", {"type": "string"}),
    "Last-Event-ID": (
        "The `seq` to resume after.",
        {"type": "string", "pattern": "^(0|[1-9][0-9]{0,15})$"},
    ),
}


class Undocumented(Exception):
    """A part of the API has no description; the text says where it belongs."""


def query_parameter(noun: str, one: Parameter) -> dict[str, Any]:
    """A parameter of a query."""
    schema = _schema(one)
    if one.default is not None:
        schema["default"] = one.default
    made: dict[str, Any] = {"name": one.name, "in": "query", "description": one.description, "schema": schema}
    if f"{noun}?{one.name}" in REQUIRED:
        made["required"] = True
    if schema["type"] == "array":
        made |= {"style": "form", "explode": True}
    return made


def _schema(one: Parameter) -> Schema:
    if get_origin(one.kind) is list:
        visible = _TEXT["pattern"].removeprefix("[^")
        words, item = one.words, get_args(one.kind)[0]
        word: Schema = {"enum": list(words)} if words else {"pattern": f"^[^,]*[^,{visible}[^,]*$"}
        if get_origin(item) is not None and words is None:
            word = msgspec.json.schema(item)
        return {"type": "array", "items": {"type": "string", **word}, "minItems": 1, "maxItems": MAX_WORDS}
    if one.words is not None:
        return {"type": "string", "enum": list(one.words)}
    if one.kind in (Key, TaskKey):
        return msgspec.json.schema(Key)
    if one.kind in _OWN:
        return dict(_OWN[one.kind])
    if one.kind is int:
        return {"type": "integer", "minimum": one.least, "maximum": one.most}
    if one.name == "cursor":
        return {"type": "string", "minLength": 1, "maxLength": 2000}
    return {**_TEXT, "maxLength": one.most}


def header_parameter(method: str, name: str, *, required: bool) -> dict[str, Any]:
    """A header of a request."""
    description, schema = HEADERS.get(f"{method} {name}") or HEADERS[name]
    return {"name": name, "in": "header", "description": description, "required": required, "schema": schema}
