"""Validating a value against a schema: every keyword's rule, and the budget of work (action_schemas.documents)."""

from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any
from urllib.parse import unquote

import orjson
from django.conf import settings

from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError
from memoryhub.interface.http.json import escape_pointer

MAX_FAULTS = 20
MAX_NESTING = 200  # schemas that are applied, one inside the other
MAX_POINTER = 1000  # characters
MAX_TOLD = 200  # characters of a schema's own value in a sentence
_EXACT = Context(prec=700)  # digits for any double divided by any other


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "null": ("null", lambda value: value is None),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("a whole number", lambda value: is_number(value) and value == int(value)),
    "number": ("a number", is_number),
    "string": ("a text", lambda value: isinstance(value, str)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "object": ("an object", lambda value: isinstance(value, dict)),
}

Where = tuple[Any, ...]  # (the parent's, the name or index); empty at the top
Faults = list[tuple[Where, str]]


def pointer(where: Where) -> str:
    """A place as a JSON Pointer (RFC 6901), cut to 1,000 characters."""
    steps: list[str] = []
    while where:
        where, step = where
        steps.append(f"/{escape_pointer(str(step))}")
    return "".join(reversed(steps))[:MAX_POINTER]


class Unusable(Exception):
    """The schema cannot be used. `where`: the place in it."""

    def __init__(self, where: Where, detail: str, code: Code = Code.INVALID) -> None:
        super().__init__(detail)
        self.fault = FieldError(pointer(where), code, detail)


class Validation:
    """One schema, and the work that is left for it. The result for a value under a schema is cached."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._left = settings.SCHEMA_STEPS
        self._nesting = 0
        self._known: dict[tuple[int, int], bool] = {}
        self._targets: dict[str, tuple[Any, Where]] = {}
        self._enums: dict[int, frozenset[Any]] = {}
        self._canonical: dict[int, Any] = {}

    def spend(self, steps: int) -> None:
        """Count work. Raises Unusable when the budget is exceeded."""
        self._left -= steps
        if self._left < 0:
            raise Unusable((), "Validating arguments against this schema takes too many steps.")

    def apply(self, schema: Any, value: Any, where: Where = (), out: Faults | None = None) -> bool:
        """Whether the value is valid; `out`: collects where it is not and why, up to 20 faults."""
        if isinstance(schema, bool):
            self.spend(1)
            return schema or _report(out, where, "No value is allowed here.")
        pair = id(schema), id(value)
        known = self._known.get(pair)
        if known or (known is False and out is None):
            self.spend(1)
            return known
        self.spend(1 + len(schema))
        work.check()
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise Unusable((), "The schema refers to itself endlessly, or is nested too deeply.")
        fits = True
        if value is not None or schema.get("nullable") is not True:  # OpenAPI's and the OpenAI SDK's word for null
            for name, limit in schema.items():
                rule = _RULES.get(name)
                if rule is not None and not rule(self, limit, schema, value, where, out):
                    fits = False
                    if _is_full(out):
                        break
        self._nesting -= 1
        self._known[pair] = fits
        return fits

    def resolve(self, target: str, at: Where = ()) -> tuple[Any, Where]:
        """What a reference within the schema points to, and its place. Raises Unusable."""
        if target in self._targets:
            return self._targets[target]
        if not target.startswith("#"):
            raise Unusable(at, "A $ref may only point to parts of its own schema (#/…); nothing is fetched.")
        node: Any = self.root
        where: Where = ()
        steps = unquote(target[1:]).split("/")
        self.spend(len(steps))
        for number, step in enumerate(steps):
            name = step.replace("~1", "/").replace("~0", "~")
            if number == 0 and name == "":
                continue
            if isinstance(node, list) and name.isdecimal() and len(name) < 6 and int(name) < len(node):
                node = node[int(name)]
            elif number > 0 and isinstance(node, dict) and name in node:
                node = node[name]
            else:
                raise Unusable(at, "This $ref points to nothing in the schema.")
            where = (where, name)
        self._targets[target] = node, where
        return node, where

    def one_of(self, choices: list[Any]) -> frozenset[Any]:
        """An enumeration as a set, so that a lookup costs the same however long it is."""
        made = self._enums.get(id(choices))
        if made is None:
            self.spend(len(choices))
            made = self._enums[id(choices)] = frozenset(map(self.canonical, choices))
        return made

    def canonical(self, value: Any) -> Any:
        """Equal for values that JSON Schema takes for equal: 1 is 1.0, but not true; members have no order.

        As text, whose hash is randomised, unlike that of a number (hash flooding). The caller compares it, which reads
        it to its end and is charged here.
        """
        if value is None or isinstance(value, bool):
            return (value,)
        if not isinstance(value, dict | list | str):
            return _text(_whole(value))
        made = value if isinstance(value, str) else self._canonical.get(id(value))
        if made is None:
            made = _text(self._normal(value))
            self.spend(len(made) // 64)
            self._canonical[id(value)] = made
        self.spend(len(made) // 4096)
        return made

    def _normal(self, value: Any) -> Any:
        self.spend(1)
        if isinstance(value, dict):
            return {name: self._normal(child) for name, child in value.items()}
        if isinstance(value, list):
            return [self._normal(child) for child in value]
        return _whole(value)


def _text(value: Any) -> bytes:
    # A copy, since what orjson returns keeps its buffer of 4 kB.
    return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _report(out: Faults | None, where: Where, detail: str | Callable[[], str]) -> bool:
    """Add a fault where faults are collected; returns False. `detail`: a function where the sentence shows values."""
    if out is not None and len(out) < MAX_FAULTS:
        out.append((where, detail if isinstance(detail, str) else detail()))
    return False


def _is_full(out: Faults | None) -> bool:
    return out is None or len(out) >= MAX_FAULTS


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}…"


# The rules: each takes the run, its keyword's value, the schema that has it, the value, its place and `out`.
_Rule = Callable[[Validation, Any, dict[str, Any], Any, Where, Faults | None], bool]


def _ref(run: Validation, target: str, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    return run.apply(run.resolve(target)[0], value, where, out)


def _type(run: Validation, kinds: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if any(TYPES[kind][1](value) for kind in kinds):
        return True
    return _report(out, where, lambda: f"This must be {' or '.join(TYPES[kind][0] for kind in kinds)}.")


def _enum(run: Validation, choices: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    if run.canonical(value) in run.one_of(choices):
        return True
    return _report(out, where, lambda: f"This must be one of {_shown(choices[:MAX_TOLD])}.")


def _const(run: Validation, only: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    fits = run.canonical(value) == run.canonical(only)
    return fits or _report(out, where, lambda: f"This must be {_shown(only)}.")


def _all_of(run: Validation, parts: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    fits = True
    for part in parts:
        if not run.apply(part, value, where, out):
            fits = False
            if _is_full(out):
                break
    return fits


def _any_of(run: Validation, parts: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    if any(run.apply(part, value) for part in parts):
        return True
    if len(parts) == 1:
        return run.apply(parts[0], value, where, out)
    return _report(out, where, "This matches none of the allowed forms.")


def _one_of(run: Validation, parts: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    fitting = 0
    for part in parts:
        fitting += run.apply(part, value)
        if fitting > 1:
            return _report(out, where, "This matches several forms; it must match exactly one.")
    return fitting == 1 or _any_of(run, parts, schema, value, where, out)


def _not(run: Validation, part: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    return not run.apply(part, value) or _report(out, where, "This matches a form that is not allowed.")


def _bound(fits: Callable[[Any, Any], bool], words: str, exclusive: str = "") -> _Rule:
    def rule(run: Validation, limit: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
        if not is_number(value) or isinstance(limit, bool):
            return True
        if exclusive and schema.get(exclusive) is True and value == limit:
            return _report(out, where, lambda: f"This must not be {limit}.")
        return fits(value, limit) or _report(out, where, lambda: f"This must be {words} {limit}.")

    return rule


def _multiple(
    run: Validation, step: float, schema: dict[str, Any], value: Any, where: Where, out: Faults | None
) -> bool:
    """In decimals, as they are written: 19.99 is a multiple of 0.01, which it is not in binary."""
    if not is_number(value):
        return True
    if isinstance(value, int) and isinstance(step, int):
        rest: Any = value % step
    else:
        run.spend(2)
        rest = _EXACT.remainder(Decimal(repr(value)), Decimal(repr(step)))
    return not rest or _report(out, where, lambda: f"This must be a multiple of {step}.")


def _count(kind: type, fits: Callable[[int, int], bool], words: str) -> _Rule:
    def rule(run: Validation, limit: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
        if not isinstance(value, kind):
            return True
        return fits(len(value), limit) or _report(out, where, lambda: f"This must have {words.format(int(limit))}.")  # type: ignore[arg-type]

    return rule


def _unique(run: Validation, pair: bool, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    if not pair or not isinstance(value, list):
        return True
    run.spend(len(value))
    is_unique = len(set(map(run.canonical, value))) == len(value)
    return is_unique or _report(out, where, "All items must be different.")


def _each(run: Validation, children: Any, value: Any, where: Where, out: Faults | None) -> bool:
    """Apply to each member or item its own schema; `children`: (name or index, schema)."""
    fits = True
    for name, part in children:
        run.spend(1)
        if not run.apply(part, value[name], (where, name) if out is not None else where, out):
            fits = False
            if _is_full(out):
                break
    return fits


def _items(run: Validation, part: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    if not isinstance(value, list):
        return True
    if isinstance(part, list):  # as in drafts before 2020: a schema for each
        return _each(run, enumerate(part[: len(value)]), value, where, out)
    first = len(schema.get("prefixItems", ()))
    return _each(run, ((index, part) for index in range(first, len(value))), value, where, out)


def _prefix(run: Validation, parts: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    return not isinstance(value, list) or _each(run, enumerate(parts[: len(value)]), value, where, out)


def _further(run: Validation, part: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    first = schema.get("items")
    if not isinstance(value, list) or not isinstance(first, list):
        return True
    return _each(run, ((index, part) for index in range(len(first), len(value))), value, where, out)


def _properties(
    run: Validation, parts: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None
) -> bool:
    if not isinstance(value, dict):
        return True
    fewer, others = (parts, value) if len(parts) <= len(value) else (value, parts)
    run.spend(len(fewer))
    return _each(run, ((name, parts[name]) for name in fewer if name in others), value, where, out)


def _additional(
    run: Validation, part: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None
) -> bool:
    # Patterns are not applied, so it is unknown which members none of them matches.
    if not isinstance(value, dict) or "patternProperties" in schema:
        return True
    named = schema.get("properties", {})
    run.spend(len(value))
    return _each(run, ((name, part) for name in value if name not in named), value, where, out)


def _names(run: Validation, part: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None) -> bool:
    if not isinstance(value, dict):
        return True
    run.spend(len(value))
    return all(run.apply(part, name) for name in value) or _report(out, where, "A member's name is not allowed.")


def _required(
    run: Validation, names: Any, schema: dict[str, Any], value: Any, where: Where, out: Faults | None
) -> bool:
    if not isinstance(value, dict):
        return True
    run.spend(len(names))
    missing = [name for name in names if name not in value]
    for name in missing:
        _report(out, (where, name), "This is missing.")
    return not missing


_RULES: dict[str, _Rule] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "minimum": _bound(lambda value, limit: value >= limit, "at least", "exclusiveMinimum"),
    "maximum": _bound(lambda value, limit: value <= limit, "at most", "exclusiveMaximum"),
    "exclusiveMinimum": _bound(lambda value, limit: value > limit, "more than"),
    "exclusiveMaximum": _bound(lambda value, limit: value < limit, "less than"),
    "multipleOf": _multiple,
    "minLength": _count(str, lambda size, limit: size >= limit, "at least {} characters"),
    "maxLength": _count(str, lambda size, limit: size <= limit, "at most {} characters"),
    "minItems": _count(list, lambda size, limit: size >= limit, "at least {} items"),
    "maxItems": _count(list, lambda size, limit: size <= limit, "at most {} items"),
    "minProperties": _count(dict, lambda size, limit: size >= limit, "at least {} members"),
    "maxProperties": _count(dict, lambda size, limit: size <= limit, "at most {} members"),
    "uniqueItems": _unique,
    "items": _items,
    "prefixItems": _prefix,
    "additionalItems": _further,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": _required,
}
