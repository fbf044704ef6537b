"""JSON Schemas as clients' libraries emit them, and values near to what each allows."""

from __future__ import annotations

import enum
import string
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, create_model

Json = dict[str, Any]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Money(BaseModel):
    amount: float = Field(ge=0, le=1000, description="At most the price.")
    currency: Literal["EUR", "SEK"] = "EUR"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(min_length=1, max_length=5)


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Add(BaseModel):
    left: Add | Leaf
    right: Add | Leaf
    kind: Literal["add"] = "add"


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    value: int | None = None


_TYPES: tuple[Any, ...] = (
    str,
    int,
    float,
    bool,
    None,
    Any,
    int | None,
    str | int | None,
    UUID,
    datetime,
    Decimal,
    Colour,
    Literal["a", "b", 1],
    Annotated[int, Field(gt=0, lt=10)],
    Annotated[int, Field(multiple_of=5)],
    Annotated[str, Field(min_length=2, max_length=4)],
    Annotated[str, Field(pattern="^[a-z]+$")],
    list[int],
    list[Money],
    set[int],
    frozenset[str],
    tuple[int, str],
    tuple[int, ...],
    Annotated[list[str], Field(min_length=1, max_length=3)],
    dict[str, int],
    dict[str, Money | None],
    dict[Annotated[str, Field(pattern="^x-")], int],
    Annotated[dict[str, Any], Field(min_length=1, max_length=2)],
    Money,
    Money | None,
    Annotated[Cat | Dog, Field(discriminator="kind")],
    Cat | Dog | None,
    Tree,
    Add,
    list[Tree | Money],
)


def of_pydantic(number: int, random: Random) -> Json:
    """The schema of a model with up to eight fields."""
    fields: dict[str, Any] = {}
    for index in range(random.randint(1, 8)):
        kind = random.choice(_TYPES)
        fields[f"field_{index}"] = (kind, ... if random.random() < 0.6 else None)
    made = create_model(f"Model{number}", __config__={"extra": random.choice(["ignore", "forbid", "allow"])}, **fields)
    return made.model_json_schema(mode=random.choice(["validation", "serialization"]))


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


_2020 = "https://json-schema.org/draft/2020-12/schema"
_DRAFT7 = "http://json-schema.org/draft-07/schema#"

# zod 4's toJSONSchema (draft 2020-12).
ZOD_4: list[Json] = [
    {"$schema": _2020, **_object({"email": {"type": "string", "format": "email", "pattern": r"^(?!\.)\p{L}+$"}})},
    {
        "$schema": _2020,
        **_object(
            {
                "age": {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
                "price": {"type": "number", "exclusiveMinimum": 0},
                "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
                "rest": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}},
            },
            additionalProperties=False,
        ),
    },
    {"type": "object", "propertyNames": {"type": "string", "minLength": 2}, "additionalProperties": {"type": "number"}},
    {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {}, "required": ["a"]},
    {"allOf": [_object({"a": {"type": "string"}}), _object({"b": {"type": "integer"}})]},
    {"oneOf": [_object({"t": {"const": "a"}}), _object({"t": {"const": "b"}, "n": {"type": "number"}})]},
    _object({"never": {"not": {}}, "a": {}}) | {"required": []},
    _object({"node": {"$ref": "#/$defs/__schema0"}})
    | {"$defs": {"__schema0": _object({"next": {"anyOf": [{"$ref": "#/$defs/__schema0"}, {"type": "null"}]}})}},
    _object({"child": {"$ref": "#"}}) | {"required": [], "id": "Node", "$id": "Node"},
    _object({"f": {"type": "string", "format": "binary", "contentEncoding": "base64", "minLength": 1}}),
    _object({"d": {"default": "x", "type": "string"}, "r": {"readOnly": True, "type": "boolean", "x-hint": [1]}}),
    _object({"m": {"type": "number", "multipleOf": 5}, "i": {"const": 1.0}, "e": {"type": "number", "enum": [1, 2]}}),
]
# zod-to-json-schema for zod 3 (draft 7).
ZOD_3: list[Json] = [
    {
        "$schema": _DRAFT7,
        "$ref": "#/definitions/Order",
        "definitions": {
            "Order": _object(
                {
                    "pair": {
                        "type": "array",
                        "minItems": 2,
                        "maxItems": 2,
                        "items": [{"type": "string"}, {"type": "number"}],
                    },
                    "open": {
                        "type": "array",
                        "minItems": 1,
                        "items": [{"type": "string"}],
                        "additionalItems": {"type": "integer"},
                    },
                    "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
                    "note": {"type": ["string", "null"]},
                },
                additionalProperties=False,
            )
        },
    },
    _object({"a": _object({"b": {"type": "string"}}), "c": {"$ref": "#/properties/a/properties/b"}}),
    _object({"m": {"type": "array", "maxItems": 5, "items": {"type": "array", "items": [{}, {"type": "number"}]}}}),
    _object({"u": {"type": ["string", "number"], "description": "Either."}, "l": {"type": "string", "const": "x"}}),
]
# The arguments of strict functions, as the OpenAI SDKs make them.
OPENAI: list[Json] = [
    _object(
        {
            "location": {"type": "string", "description": "City and country"},
            "units": {"type": ["string", "null"], "enum": ["celsius", "fahrenheit", None]},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
        },
        additionalProperties=False,
        title="GetWeather",
    )
    | {"$defs": {"step": _object({"explanation": {"type": "string"}}, additionalProperties=False)}},
    _object({"item": {"anyOf": [{"$ref": "#/definitions/a"}, {"$ref": "#/definitions/b"}]}}, additionalProperties=False)
    | {"definitions": {"a": _object({"x": {"type": "integer"}}), "b": _object({"y": {"type": "boolean"}})}},
]


def near(schema: Any, root: Json, random: Random, depth: int = 0) -> Any:
    """A value that the schema may allow: often right, or wrong by one thing."""
    if depth > 8 or random.random() < 0.03 or not isinstance(schema, dict):
        return random.choice([None, True, False, 0, 1, 1.0, -3, 2.5, "", "a", "abc", [], [1, 1.0], {}, {"a": 1}])
    if "$ref" in schema:
        node: Any = root
        for step in schema["$ref"][1:].split("/")[1:]:
            node = node[step]
        return near(node, root, random, depth + 1)
    for many in ("anyOf", "oneOf"):
        if many in schema:
            return near(random.choice(schema[many]), root, random, depth + 1)
    if "allOf" in schema:
        parts = [near(part, root, random, depth + 1) for part in schema["allOf"]]
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return random.choice(schema["enum"])
    kind = schema.get("type", "object" if "properties" in schema else "any")
    return _of_type(random.choice(kind) if isinstance(kind, list) else kind, schema, root, random, depth)


def _of_type(kind: str, schema: Json, root: Json, random: Random, depth: int) -> Any:
    match kind:
        case "object":
            made = {}
            for name, part in schema.get("properties", {}).items():
                if random.random() < 0.97:
                    made[name] = near(part, root, random, depth + 1)
            further = schema.get("additionalProperties")
            for name in ("a", "x-b", "other"):
                if random.random() < (0.5 if isinstance(further, dict) else 0.03):
                    made[name] = near(further, root, random, depth + 1)
            return made
        case "array":
            listed = schema.get("items") if isinstance(schema.get("items"), list) else None
            parts = schema.get("prefixItems") or listed or []
            made_list = [near(part, root, random, depth + 1) for part in parts]
            rest = schema.get("additionalItems") if listed else schema.get("items")
            more = random.randint(0, 3) if len(parts) < schema.get("maxItems", 9) or random.random() < 0.05 else 0
            return made_list + [near(rest, root, random, depth + 1) for _ in range(more)]
        case "string":
            low = schema.get("minLength", 0)
            size = random.randint(max(low - (random.random() < 0.1), 0), schema.get("maxLength", low + 3))
            return "".join(random.choices(string.ascii_lowercase, k=size))
        case "integer" | "number":
            low, high = schema.get("minimum", -10), schema.get("maximum", 10)
            number = random.randint(max(int(low), -10), min(int(high), 50)) * (schema.get("multipleOf", 1))
            return float(number) if random.random() < 0.3 else number
        case "boolean":
            return random.random() < 0.5
        case "null":
            return None
    return random.choice([None, 1, "x", [1], {"a": 1}])
