"""JSON verbatim: an action's arguments are stored as received, and an edit keeps what it does not change.

PostgreSQL's jsonb reorders keys and rewrites numbers, and Python writes 1e2 as 100.0. So the text itself is stored, its
numbers are parsed as text, and an edit replaces single values.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from memoryhub.interface.http.json import dump

Path = tuple[str, ...]


class Number(str):
    """A number, as it was written."""

    __slots__ = ()


def keep(action: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A proposed action as it is stored: `arguments_json` in place of `arguments` (made from them when absent)."""
    if action is None:
        return None
    text = action.get("arguments_json") or dump(action["arguments"]).decode()
    return {"name": action["name"], "arguments_json": text, "schema": action.get("schema")}


def arguments_of(holder: Mapping[str, Any]) -> str:
    """The arguments of a stored action or answer, as JSON text. Older rows have them as a value."""
    text: str | None = holder.get("arguments_json")
    return text if text is not None else dump(holder.get("arguments") or {}).decode()


def has_arguments(text: Mapping[str, Any]) -> bool:
    """Whether an answer's stored text has arguments: that of an edit."""
    return "arguments_json" in text or "arguments" in text


def parse(text: str) -> dict[str, Any]:
    """Parse an object, in its order, with each number a `Number`."""
    made: dict[str, Any] = json.loads(text, parse_int=Number, parse_float=Number)
    return made


def write(value: Any) -> str:
    """Serialise what parse() returned, its numbers as they were."""
    return orjson.dumps(value, default=_number, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _number(value: Any) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.encode())
    raise TypeError(f"{type(value).__name__} cannot be serialised as JSON")


def merge(text: str, changes: Mapping[Path, str]) -> str:
    """The text with some values replaced or added: path -> the value's JSON text. All other values stay byte by byte.

    The objects along a path must exist.
    """
    if not changes:
        return text
    below: dict[str, dict[Path, str]] = {}
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    for (name, *rest), value in changes.items():
        if rest:
            below.setdefault(name, {})[tuple(rest)] = value
        else:
            members[name] = msgspec.Raw(value.encode())
    for name, inner in below.items():
        members[name] = msgspec.Raw(merge(bytes(members[name]).decode(), inner).encode())
    return msgspec.json.encode(members).decode()
