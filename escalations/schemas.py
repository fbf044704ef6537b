"""The JSON Schema of an action, written by an agent: held against arguments within bounds, and fetching nothing.

jsonschema by itself would fetch a `$ref` from any address, and a small schema can ask for endless work (references in a
circle, or that double at each step). `pattern` is not applied: Python matches it while all other threads wait, for as
long as whoever wrote it likes, and the agent's tool checks what it gets anyway.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import SchemaError, ValidationError, validators
from jsonschema.validators import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from memoryhub.core.errors import FieldError
from memoryhub.interface.json import escape_pointer

MAX_STEPS = 50_000  # a quarter of a second
MAX_FAULTS = 20
_NOT_APPLIED = ("pattern", "patternProperties")
_REFERENCES = ("$ref", "$dynamicRef")

Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]


class _TooMuch(Exception):
    """The schema asks for more work than is allowed."""


def check(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the schema itself; None when it can be held against arguments such as these, fit or not."""
    try:
        Draft202012Validator.check_schema(schema)
        if any(not target.startswith("#") for target in _references(schema)):
            return "A schema may refer only to parts of itself (#/…)."
        _apply(schema, arguments)
    except SchemaError as error:
        return f"This is no JSON Schema: {error.message[:200]}"
    except (Unresolvable, RecursionError, _TooMuch) as error:
        return _unusable(error)
    return None


def faults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[FieldError, ...]:
    """Where the arguments do not fit the schema, by pointers from `/arguments`; at most 20."""
    try:
        found = _apply(schema, arguments)
    except (Unresolvable, RecursionError, _TooMuch) as error:
        return (FieldError("/arguments", "schema", _unusable(error)),)
    return tuple(
        FieldError(
            "/arguments" + "".join(f"/{escape_pointer(str(step))}" for step in fault.absolute_path),
            "schema",
            fault.message[:300],
        )
        for fault in found
    )


def _unusable(error: Exception) -> str:
    if isinstance(error, Unresolvable):
        return "The schema refers to something that it does not hold."
    return "Checking arguments against this schema is too much work."


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node[name] for name in _REFERENCES if isinstance(node.get(name), str))
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _references(child)


def _apply(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[ValidationError]:
    left = [MAX_STEPS]

    def counted(keyword: Keyword) -> Keyword:
        def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
            left[0] -= 1 + sum(len(part) for part in (value, instance) if isinstance(part, dict | list))
            if left[0] < 0:
                raise _TooMuch
            return keyword(validator, value, instance, schema) or ()

        return run

    keywords = {name: counted(run) for name, run in Draft202012Validator.VALIDATORS.items()}
    bounded = validators.extend(Draft202012Validator, {**keywords, **dict.fromkeys(_NOT_APPLIED, _nothing)})  # type: ignore[no-untyped-call]
    return list(islice(bounded(schema, registry=Registry()).iter_errors(dict(arguments)), MAX_FAULTS))


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> tuple[()]:
    return ()
