"""The JSON Schema of an action, written by an agent: a subset that is validated at a bounded cost.

docs/action-schemas.md describes the subset: what Pydantic, zod and the OpenAI SDK emit. A general validator is not safe
here: it compares each item of a list with every other (`uniqueItems`), follows references that double at each step,
fetches what a `$ref` names, and matches an agent's patterns while it holds the GIL.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from django.conf import settings

from escalations.action_schemas.rules import TYPES, Faults, Unusable, Validation, Where, is_number, pointer
from memoryhub.core.errors import Code, FieldError

# Unsupported keywords of JSON Schema that would change what is valid. Any other unknown one is an annotation.
OUTSIDE = frozenset(
    (
        *("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"),
        *("if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas"),
        *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
        *("disallow", "divisibleBy", "extends"),
    )
)
_ONE = ("additionalProperties", "additionalItems", "propertyNames", "not")
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_MAX_REF = 1000  # characters


def check(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> FieldError | None:
    """Why arguments such as these cannot be validated against the schema, with the place in it; None when they can.

    Whether they are valid is another matter (faults). Bounds: SCHEMA_BYTES of the schema, SCHEMA_STEPS of work.
    """
    try:
        if len(orjson.dumps(schema)) > settings.SCHEMA_BYTES:
            raise Unusable((), f"A schema has at most {settings.SCHEMA_BYTES} bytes.", Code.TOO_LARGE)
        run = Validation(schema)
        _check(run, schema)
        run.apply(schema, arguments)
    except Unusable as unusable:
        return unusable.fault
    return None


def faults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[FieldError, ...]:
    """Where the arguments do not fit a schema that has passed check(), by pointers from `/arguments`; at most 20."""
    found: Faults = []
    try:
        run = Validation(schema)
        if not run.apply(schema, arguments):
            run.apply(schema, arguments, (), found)
    except Unusable as unusable:
        return (FieldError("/arguments", "schema", unusable.fault.detail),)
    distinct = dict.fromkeys((f"/arguments{pointer(where)}", detail[:300]) for where, detail in found)
    return tuple(FieldError(at, "schema", detail) for at, detail in distinct)


def _check(run: Validation, root: Mapping[str, Any]) -> None:
    """Raise Unusable unless this is a schema of the subset whose references resolve within it."""
    waiting: list[tuple[Any, Where]] = [(root, ())]
    seen: set[int] = set()
    while waiting:
        node, at = waiting.pop()
        run.spend(1)
        if isinstance(node, bool) or id(node) in seen:
            continue
        if not isinstance(node, dict):
            raise Unusable(at, "This must be a schema: an object, true or false.")
        seen.add(id(node))
        run.spend(len(node))
        for name, value in node.items():
            here = (at, name)
            if name in OUTSIDE:
                raise Unusable(here, f"The keyword {name} is not supported (docs/action-schemas.md).")
            if fault := _fault(name, value):
                raise Unusable(here, f"{name} must be {fault}.")
            if name == "$id" and node is not root:
                raise Unusable(here, "Only the root schema may have an $id.")
            if name == "$ref":
                waiting.append(run.resolve(value, here))
            elif name in _ONE or (name == "items" and not isinstance(value, list)):
                waiting.append((value, here))
            elif name in _MANY or name == "items":
                waiting += [(child, (here, index)) for index, child in enumerate(value)]
            elif name in _NAMED:
                waiting += [(child, (here, key)) for key, child in value.items()]


def _fault(name: str, value: Any) -> str | None:
    """What a keyword's value must be; None when it is."""
    if name in _NAMED:
        return None if isinstance(value, dict) else "an object of schemas"
    if name in _MANY:
        return None if isinstance(value, list) and value else "a list of at least one schema"
    if name in _COUNTS:
        return None if TYPES["integer"][1](value) and value >= 0 else "a whole number of at least 0"
    if name in _NUMBERS:
        # Before draft 6 these two were booleans: true excludes the bound itself.
        if isinstance(value, bool) and name in ("exclusiveMinimum", "exclusiveMaximum"):
            return None
        return None if is_number(value) and (name != "multipleOf" or value > 0) else "a number (multipleOf: above 0)"
    match name:
        case "type":
            kinds = value if isinstance(value, list) and value else [value]
            known = all(isinstance(kind, str) and kind in TYPES for kind in kinds)
            return None if known and len(set(kinds)) == len(kinds) else f"one or more of {', '.join(TYPES)}"
        case "enum":
            return None if isinstance(value, list) else "a list"
        case "required":
            is_list = isinstance(value, list) and all(isinstance(key, str) for key in value)
            return None if is_list and len(set(value)) == len(value) else "a list of distinct names"
        case "uniqueItems":
            return None if isinstance(value, bool) else "true or false"
        case "$ref":
            is_short = isinstance(value, str) and len(value) <= _MAX_REF
            return None if is_short else f"a text of at most {_MAX_REF} characters"
        case "$id" | "$schema" | "pattern" | "format":
            return None if isinstance(value, str) else "a text"
    return None
