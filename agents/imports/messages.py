"""One message of a recorded run, of OpenAI's chat format or Anthropic's, with all its members.

Calls, results and thoughts are taken out of it, since they become rows of their own; what else it has stays as sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.imports.slices import Text, place
from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge
from memoryhub.core.fields import has_visible
from memoryhub.interface.http.json import MAX_BATCH_BYTES, parse_object
from memoryhub.interface.http.shapes import parse_when

MAX_MESSAGE_BYTES = MAX_BATCH_BYTES
# Where exports have a message's time, the best first.
TIMES = ("occurred_at", "timestamp", "created_at", "createdAt", "create_time", "created", "sent_at")
# Members, and kinds of parts, that hold what a model thought, which is private.
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
THOUGHT_PARTS = ("thinking", "redacted_thinking")


@dataclass(slots=True)
class Call:
    """A tool call. `arguments`: usually JSON in a string; `field`: `input` where they are a custom tool's free text."""

    name: str
    arguments: Any
    id: str
    more: dict[str, Any]
    field: str = "arguments"


@dataclass(slots=True)
class Result:
    """What a tool returned: a text, or parts. `id` and `name`: the call's, as far as they are known."""

    content: Any
    id: str
    name: str | None
    more: dict[str, Any]


@dataclass(slots=True)
class Message:
    """`content`: what is left of it, as a text where it is no more; `text`: its words. `more`: all other members."""

    role: str
    at: datetime | None
    content: str | list[Any] | None
    text: str
    more: dict[str, Any]
    thoughts: list[Any] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def reply(self) -> str:
        """What it says, or why it refuses."""
        refusal = self.more.get("refusal")
        return self.text if has_visible(self.text) or not isinstance(refusal, str) else refusal

    @property
    def parts(self) -> int:
        """How many rows of its own it makes, beside that of its content."""
        return len(self.calls) + len(self.results) + len(self.thoughts)


def parse_message(text: Text, index: int) -> dict[str, Any]:
    """The object of the message at this index of its run, as sent. Raises Invalid, TooLarge, with its place."""
    try:
        return parse_object(bytes(memoryview(text)), max_bytes=MAX_MESSAGE_BYTES)
    except (Invalid, TooLarge) as error:
        raise place(error, f"/messages/{index}", "This message") from None


def message_of(data: dict[str, Any], index: int) -> Message:
    """The message in the object, whose members it takes.

    Raises Invalid where it has no role, a content that is no text and no list, or a time that is none.
    """
    here = f"/messages/{index}"
    if "role" not in data:
        raise Invalid(errors=(FieldError(f"{here}/role", Code.MISSING, "This field is missing."),))
    for name, kinds, what in (("role", str, "a string"), ("content", str | list | dict | None, "a string or a list")):
        if not isinstance(data.get(name), kinds):
            raise Invalid(errors=(FieldError(f"{here}/{name}", Code.WRONG_TYPE, f"This must be {what}."),))
    at = _take_time(data, here)
    role, content = data.pop("role"), data.pop("content", None)
    parts = [content] if isinstance(content, dict) else content
    made = Message(role, at, None, "", data)
    made.thoughts = [{name: data.pop(name)} for name in THOUGHTS if is_said(data.get(name))]
    if isinstance(parts, list):
        left = [part for part in parts if not _take_part(part, made)]
        made.text = "\n".join(filter(None, map(_words, left)))
        made.content = made.text if all(map(_is_plain, left)) else left
    else:
        made.text, made.content = parts or "", parts
    made.calls += _take_calls(data)
    made.more = {name: value for name, value in data.items() if is_said(value)}
    return _as_result(made) if role in ("tool", "function") else made


def _as_result(message: Message) -> Message:
    """A tool's message, whose content and other members are those of its result."""
    more = message.more
    call_id, name = (more.pop(key) if isinstance(more.get(key), str) else None for key in ("tool_call_id", "name"))
    message.results.append(Result(message.content or "", call_id or "", name, more))
    message.content, message.text, message.more = None, "", {}
    return message


def is_said(value: Any) -> bool:
    """Whether a member says anything: null, "" and what is empty do not."""
    return value is not None and value not in ("", [], {})


def _words(part: Any) -> str:
    """The words of a part: a text, or a refusal."""
    found = part if isinstance(part, str) else None
    if isinstance(part, dict):
        found = part.get("text") or part.get("refusal")
    return found if isinstance(found, str) else ""


def _is_plain(part: Any) -> bool:
    """Whether its words are all that a part has."""
    return isinstance(part, str) or (
        isinstance(part, dict)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )


def _take_part(part: Any, made: Message) -> bool:
    """Add a part of the content that is a thought, a call or a result to the message's; whether it is one."""
    if not isinstance(part, dict):
        return False
    kind, rest = part.get("type"), dict(part)
    if kind in THOUGHT_PARTS:
        made.thoughts.append(part)
    elif kind == "tool_use" and isinstance(part.get("name"), str) and isinstance(part.get("id"), str):
        rest.pop("type")
        name, call_id = rest.pop("name"), rest.pop("id")
        made.calls.append(Call(name, rest.pop("input", {}), call_id, rest))
    elif kind == "tool_result" and isinstance(part.get("tool_use_id"), str):
        rest.pop("type")
        content, call_id = rest.pop("content", ""), rest.pop("tool_use_id")
        if isinstance(content, list) and all(map(_is_plain, content)):
            content = "\n".join(map(_words, content))
        made.results.append(Result(content or "", call_id, None, rest))
    else:
        return False
    return True


def _take_calls(data: dict[str, Any]) -> Iterator[Call]:
    """The tool calls of OpenAI's format, also of that before 2023-11; what is none of these stays in the message."""
    given = data.get("tool_calls")
    if isinstance(given, list):
        others = []
        for call in given:
            if (found := _call(call)) is not None:
                yield found
            else:
                others.append(call)
        data["tool_calls"] = others
    if (found := _call({"function": data.get("function_call")})) is not None:
        del data["function_call"]
        yield found


def _call(given: Any) -> Call | None:
    if not isinstance(given, dict):
        return None
    kind, argument = ("custom", "input") if isinstance(given.get("custom"), dict) else ("function", "arguments")
    tool, call_id = given.get(kind), given.get("id")
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not isinstance(call_id, str | None):
        return None
    more = {name: value for name, value in given.items() if name not in ("id", "type", kind)}
    if given.get("type", kind) != kind:
        more["type"] = given["type"]
    if others := {name: value for name, value in tool.items() if name not in ("name", argument)}:
        more[kind] = others
    return Call(tool["name"], tool.get(argument, ""), call_id or "", more, argument)


def _take_time(data: dict[str, Any], here: str) -> datetime | None:
    """When the message was, removed from it. Raises Invalid."""
    name = next((name for name in TIMES if data.get(name) is not None), None)
    if name is None:
        return None
    try:
        return _time(data.pop(name))
    except ValueError as error:
        raise Invalid(errors=(FieldError(f"{here}/{name}", Code.BAD_FORMAT, str(error)),)) from None


def _time(value: Any) -> datetime:
    """A time in RFC 3339, or in seconds, milliseconds or microseconds since 1970, as its size says."""
    words = "Send a time with its offset, 2026-01-31T09:30:00Z, or a Unix time; what is none needs another name."
    if isinstance(value, str):
        try:
            return parse_when(value)
        except ValueError:
            raise ValueError(words) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(words)
    unit = 1 if value < 1e11 else 1000 if value < 1e14 else 1_000_000
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value / unit)
