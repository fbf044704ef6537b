"""JSON as it was written: an action's arguments are kept as the text that came, and what is not changed stays.

PostgreSQL's jsonb sorts keys and rewrites numbers, and Python reads 2.0 and 1e2 as what it writes otherwise. So the
text itself is stored, read with its numbers as they stand there, and changed value by value.
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
    """A proposed action as it is stored: `arguments_json` in the place of `arguments` (made of them when absent)."""
    if action is None:
        return None
    text = action.get("arguments_json") or dump(action["arguments"]).decode()
    return {"name": action["name"], "arguments_json": text, "schema": action.get("schema")}


def arguments_of(holder: Mapping[str, Any]) -> str:
    """The text of the arguments in an action's or an answer's stored text. Older rows have them as a value."""
    text: str | None = holder.get("arguments_json")
    return text if text is not None else dump(holder.get("arguments") or {}).decode()


def has_arguments(text: Mapping[str, Any]) -> bool:
    """Whether an answer's stored text has arguments: that of an edit."""
    return "arguments_json" in text or "arguments" in text


def parse(text: str) -> dict[str, Any]:
    """The object in this text, in its order, with each number a `Number`."""
    made: dict[str, Any] = json.loads(text, parse_int=Number, parse_float=Number)
    return made


def write(value: Any) -> str:
    """What `parse` read as JSON text again, its numbers as they were."""
    return orjson.dumps(value, default=_number, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _number(value: Any) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.encode())
    raise TypeError(f"{type(value).__name__} does not stand in JSON text")


def merge(text: str, changes: Mapping[Path, str]) -> str:
    """The text with some values in it replaced or added: path -> the value's JSON text. All else stays byte by byte.

    The objects that a path leads through are there.
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
