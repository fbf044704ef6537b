"""A recorded run, from a file (one JSON object per line) or a body: messages in the OpenAI chat format."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, BinaryIO

import msgspec

from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge
from memoryhub.core.fields import has_visible
from memoryhub.interface.http.json import parse_object
from memoryhub.interface.http.shapes import fault_of, parse_task_key

MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_MESSAGES = 10_000
MAX_CALLS = 10_000  # a message becomes one step at most, and so does each call in it
MAX_KEY = 160  # a client_ref is the key and a position, and may have 200 characters
MAX_TITLE = 120
MAX_REPLY = 40_000  # of its copy in the outcome, which may have 256 KiB


class Function(msgspec.Struct):
    """A function that an assistant calls. `arguments`: usually JSON in a string."""

    name: str
    arguments: str | dict[str, Any] = ""


class ToolCall(msgspec.Struct):
    function: Function
    id: str = ""


class Message(msgspec.Struct):
    """One turn; other members are ignored. `function_call`: the form of tool calls before 2023-11."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None

    @property
    def text(self) -> str:
        """The content as text; other parts (a picture, a sound) are shown as their type."""
        if not isinstance(self.content, list):
            return self.content or ""
        parts = [part.get("text") or part.get("refusal") or f"[{part.get('type', 'part')}]" for part in self.content]
        return "\n".join(part for part in parts if isinstance(part, str))

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls, in order."""
        return [*(self.tool_calls or []), *([ToolCall(self.function_call)] if self.function_call else [])]


class _Line(msgspec.Struct):
    messages: list[Message]
    task_id: str | int | None = None
    trial: Annotated[str, msgspec.Meta(max_length=MAX_KEY)] | int | None = None
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its task's key. `size`: its messages' bytes; `source`: what the task stores of the line's origin."""

    key: str
    messages: list[Message]
    size: int
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The customer's first words, as one line."""
        for message in self.messages:
            if message.role == "user" and has_visible(message.text):
                return one_line(message.text, MAX_TITLE)
        return f"Run {self.key}"

    @property
    def outcome(self) -> dict[str, Any]:
        """The task's outcome: the agent's last reply to the customer, and the reward where the run was judged."""
        said = [message.text for message in self.messages if message.role == "assistant" and has_visible(message.text)]
        reward = self.source.get("reward")
        reply = {"reply": said[-1][:MAX_REPLY]} if said else {}
        return {**reply, **({"reward": reward} if reward is not None else {})}


def read_run(line: bytes, prefix: str = "") -> Run:
    """The run in a line, as run_of() reads it. Raises Invalid, TooLarge."""
    return run_of(parse_object(line, max_bytes=MAX_LINE_BYTES), prefix)


def run_of(data: dict[str, Any], prefix: str = "") -> Run:
    """The run in an object. Its key: `prefix`, task id and trial; without a task id, a digest of its messages.

    Raises Invalid, TooLarge with the fault and its place.
    """
    try:
        read = msgspec.convert(data, _Line)
    except msgspec.ValidationError as error:
        raise Invalid(errors=(fault_of(error),)) from None
    if not read.messages:
        raise Invalid(errors=(FieldError("/messages", Code.EMPTY, "messages is empty."),))
    calls = sum(len(message.calls) for message in read.messages)
    for found, most, what in ((len(read.messages), MAX_MESSAGES, "messages"), (calls, MAX_CALLS, "tool calls")):
        if found > most:
            detail = f"A run may have at most {most} {what}; this has {found}."
            raise TooLarge(errors=(FieldError("/messages", Code.TOO_LONG, detail),))
    sent = msgspec.json.encode(data["messages"], order="sorted")
    digest = hashlib.sha256(sent).hexdigest()
    names = [str(part) for part in (read.task_id, read.trial) if part is not None]
    key = prefix + ("-".join(names) if read.task_id is not None else f"run-{digest[:16]}")
    try:
        parse_task_key(key)
    except ValueError as error:
        raise _no_key(Code.BAD_FORMAT, f"task_id and trial make the key {key[:80]!r}: {error}") from None
    if len(key) > MAX_KEY:
        raise _no_key(Code.TOO_LONG, f"task_id and trial make a key of more than {MAX_KEY} characters.")
    source = {"task_id": read.task_id, "trial": read.trial, "reward": read.reward, "messages": digest}
    return Run(key, read.messages, len(sent), source)


def _no_key(code: Code, detail: str) -> Invalid:
    return Invalid(errors=(FieldError("/task_id", code, detail),))


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, without their ends; one that is too long is cut after MAX_LINE_BYTES + 1."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        complete = line
        while len(complete) > MAX_LINE_BYTES and not complete.endswith(b"\n"):
            complete = file.readline(MAX_LINE_BYTES + 1)
            if not complete:
                break
        yield line.rstrip(b"\r\n")


def one_line(text: str, longest: int) -> str:
    """The text as one printable line, cut at a word to at most `longest` characters."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    if len(line) <= longest:
        return line
    return line[: longest - 1].rsplit(" ", 1)[0] + "…"
