"""An action's arguments as a form: typed inputs made from the JSON and its schema, and read back as JSON."""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memoryhub.core.errors import Code, FieldError, HubError, Invalid
from memoryhub.interface.json import MAX_NUMBER, dump, escape_pointer, parse_object

PREFIX = "arguments"
MAX_FIELDS, MAX_DEPTH = 60, 6
LONG = 80  # characters from which on a text gets several lines
_ABSENT = object()
_WHOLE = re.compile(r"[-+]?[0-9]{1,16}")
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_UNCHECKED = ("format", "pattern")  # docs/action-schemas.md
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `kind`: text, long, lines, integer, number, boolean, choice or json; `value` as it stands there."""

    path: tuple[str, ...]
    kind: str
    value: str
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    present: bool = True
    help: str = ""

    @property
    def pointer(self) -> str:
        return "".join(f"/{escape_pointer(part)}" for part in self.path)

    @property
    def name(self) -> str:
        """Of the input: `arguments/order/amount`."""
        return PREFIX + self.pointer

    @property
    def label(self) -> str:
        return " › ".join(self.path)


def fields(arguments: Mapping[str, Any], schema: Any) -> list[Field]:
    """The inputs for an action's arguments; what the schema names and the agent left out is offered, too."""
    return list(_fields(arguments, schema if isinstance(schema, dict) else {}, ()))[:MAX_FIELDS]


def _fields(node: Mapping[str, Any], schema: dict[str, Any], path: tuple[str, ...]) -> Iterator[Field]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    for name in dict.fromkeys([*node, *properties]):
        value = node.get(name, _ABSENT)
        rule = properties.get(name)
        rule = rule if isinstance(rule, dict) else {}
        here = (*path, str(name))
        if isinstance(value, dict) and value and len(here) < MAX_DEPTH:
            yield from _fields(value, rule, here)
        else:
            yield _field(here, value, rule, name in required)


def _field(path: tuple[str, ...], value: Any, rule: dict[str, Any], required: bool) -> Field:
    kind = _kind(value, rule)
    choices: tuple[tuple[str, str], ...] = ()
    if kind == "choice":
        choices = tuple((_json(choice), str(choice)) for choice in rule["enum"])
    elif kind == "boolean":
        choices = (("true", "yes"), ("false", "no"))
    said = rule.get("description")
    return Field(
        path=path,
        kind=kind,
        value=_shown(value, kind),
        choices=choices,
        required=required,
        present=value is not _ABSENT,
        help=" ".join([said[:300] if isinstance(said, str) else "", _bounds(rule)]).strip(),
    )


def _shown(value: Any, kind: str) -> str:
    if value is _ABSENT:
        return ""
    if kind == "lines":
        return "\n".join(value)
    return str(value) if kind in ("text", "long") else _json(value)


def _kind(value: Any, rule: dict[str, Any]) -> str:
    enum = rule.get("enum")
    if isinstance(enum, list) and 0 < len(enum) <= 100 and (value is _ABSENT or value in enum):
        return "choice"
    kind = _TYPES.get(type(value), "json")
    declared = rule.get("type")
    if value is _ABSENT:
        names = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
        kind = names.get(declared, "json") if isinstance(declared, str) else "json"
    elif kind == "integer" and declared == "number":
        kind = "number"
    if kind == "text" and isinstance(value, str) and (len(value) > LONG or "\n" in value):
        kind = "long"
    return "lines" if _is_lines(value) else kind


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(part, str) and _is_line(part) for part in value)


def _is_line(text: str) -> bool:
    return text.strip() != "" and text.isprintable()


def _bounds(rule: dict[str, Any]) -> str:
    found = [f"{word} {rule[name]}" for name, word in _BOUNDS.items() if isinstance(rule.get(name), int | float)]
    found += [f"{name} {rule[name][:60]} is not checked here" for name in _UNCHECKED if isinstance(rule.get(name), str)]
    return f"({', '.join(found)})" if found else ""


def _json(value: Any) -> str:
    return dump(value).decode()


def read(found: list[Field], arguments: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, Any]:
    """The arguments with what was typed into the inputs; `posted`: input name -> text. Raises Invalid, per input.

    An input that was not sent keeps what the agent proposed; one of an absent argument that was left empty adds none.
    """
    made: dict[str, Any] = copy.deepcopy(dict(arguments))
    faults: list[FieldError] = []
    for field in found:
        text = posted.get(field.name)
        if text is None or (text == "" and not field.present):
            continue
        try:
            _put(made, field.path, _value(field, text))
        except ValueError as error:
            faults.append(FieldError(f"/{field.name}", Code.BAD_FORMAT, f"{field.label}: {error}"))
    if faults:
        raise Invalid(errors=tuple(faults))
    return made


def _put(node: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value


def _value(field: Field, text: str) -> Any:
    text = text.replace("\r\n", "\n")
    if field.kind in ("text", "long"):
        return text
    if field.kind == "lines":
        return [line for line in text.split("\n") if line.strip()]
    text = text.strip()
    if field.kind == "integer":
        if not _WHOLE.fullmatch(text) or abs(int(text)) > MAX_NUMBER:
            raise ValueError("a whole number is due.")
        return int(text)
    if field.kind == "number":
        return _number(text)
    if field.kind == "choice" and text not in [value for value, _ in field.choices]:
        raise ValueError("choose one of the list.")
    if field.kind == "boolean" and text not in ("true", "false"):
        raise ValueError("choose yes or no.")
    return _parse(text)


def _number(text: str) -> int | float:
    if not re.fullmatch(r"[-+]?[0-9]{1,16}(\.[0-9]{1,16})?", text):
        raise ValueError("a number is due.")
    if "." not in text:
        return int(text)
    number = float(text)
    if not math.isfinite(number) or abs(number) > MAX_NUMBER:
        raise ValueError("this number is too large.")
    return number


def _parse(text: str) -> Any:
    try:
        parsed = parse_object(b'{"value":' + text.encode() + b"}")
    except (HubError, UnicodeEncodeError) as error:
        raise ValueError("this is not valid JSON.") from error
    if list(parsed) != ["value"]:
        raise ValueError("this is not valid JSON.")
    return parsed["value"]
