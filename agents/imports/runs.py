"""A recorded run: who did what in which task, and its messages, which are read one at a time."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, Struct

from agents.imports.envelopes import RunSource
from agents.imports.messages import Message, message_of, parse_message
from agents.imports.slices import Slice, elements, members, place
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge
from memoryhub.core.fields import MAX_CONTENT_BYTES, VISIBLE_CHARACTER, has_visible
from memoryhub.interface.http.json import MAX_BATCH_BYTES, parse_object
from memoryhub.interface.http.shapes import fault_of, parse_task_key

MAX_MESSAGES = 10_000
MAX_PARTS = 10_000  # calls, results and thoughts, which are rows beside their message's
MAX_KEY = 160  # a client_ref is the key and a position, and may have 200 characters
MAX_TITLE = 120
MAX_REPLY = 40_000  # of its copy in the outcome, which may have 256 KiB
MAX_METADATA = MAX_CONTENT_BYTES - 8 * 1024  # beside it the task's metadata have the other members


class _Slices(Struct, forbid_unknown_fields=True):
    messages: Slice
    task_id: Slice = UNSET
    trial: Slice = UNSET
    reward: Slice = UNSET
    metadata: Slice = UNSET


class _Head(Struct, omit_defaults=True):
    """`metadata`: whatever else is known of the run."""

    task_id: str | int | None = None
    trial: Annotated[str, msgspec.Meta(max_length=MAX_KEY)] | int | None = None
    reward: float | None = None
    metadata: dict[str, Any] = {}


# A call that is open or answered: its message's index, and its own in the message.
Position = tuple[int, int]


@dataclass(slots=True)
class Run:
    """A run with its task's key. `size`: its messages' bytes; `source`: what the task stores of the run's origin.

    `title`: the customer's first words, as one line. `reply`: the agent's last to the customer. `answers`: for each
    result, by its message's index and its own there, the call that it answers.
    """

    key: str
    slices: list[Raw]
    source: dict[str, Any]
    size: int = 0
    parts: int = 0
    title: str = ""
    reply: str = ""
    answers: dict[Position, Position] = field(default_factory=dict)

    def messages(self) -> Iterator[Message]:
        """The messages, read again each time. Raises Invalid, TooLarge."""
        for index, text in enumerate(self.slices):
            work.check()
            yield message_of(parse_message(text, index), index)

    @property
    def outcome(self) -> dict[str, Any]:
        """The task's outcome: the agent's last reply to the customer, and the reward where the run was judged."""
        reward = self.source.get("reward")
        reply = {"reply": self.reply} if self.reply else {}
        return {**reply, **({"reward": reward} if reward is not None else {})}


def read_run(source: RunSource, prefix: str = "") -> Run:
    """The run in `source`. Its key: `prefix`, task id and trial; without a task id, a digest of its messages.

    Raises Invalid, TooLarge with each fault and its place in the run.
    """
    sliced = _members(source)
    head = _head(sliced)
    assert isinstance(sliced.messages, Raw), "a required member"
    try:
        slices = elements(sliced.messages, MAX_MESSAGES)
    except Invalid as error:
        raise place(error, "/messages", "messages") from None
    if not slices:
        raise Invalid(errors=(FieldError("/messages", Code.EMPTY, "messages is empty."),))
    _refuse_more("messages", len(slices), MAX_MESSAGES)
    run = Run("", slices, {"task_id": head.task_id, "trial": head.trial, "reward": head.reward})
    digest = _survey(run)
    names = [str(part) for part in (head.task_id, head.trial) if part is not None]
    run.key = prefix + ("-".join(names) if head.task_id is not None else f"run-{digest[:16]}")
    _check_key(run.key)
    run.title = run.title or f"Run {run.key}"
    run.source |= {"messages": digest, **({"metadata": head.metadata} if head.metadata else {})}
    return run


def _members(source: RunSource) -> _Slices:
    try:
        return members(source.text, _Slices)
    except Invalid as error:
        known = ", ".join(_Slices.__struct_fields__)
        words = f"A run has no such member. It may have {known}; put what else is to be kept into metadata."
        error.errors = tuple(
            FieldError(fault.pointer, fault.code, f"{fault.pointer[1:]}: {words}")
            if fault.code == Code.UNKNOWN_FIELD
            else fault
            for fault in error.errors
        )
        raise


def _head(sliced: _Slices) -> _Head:
    given = {name: getattr(sliced, name) for name in _Head.__struct_fields__}
    text = msgspec.json.encode({name: value for name, value in given.items() if value is not UNSET})
    data = parse_object(text, max_bytes=MAX_BATCH_BYTES)
    if len(msgspec.json.encode(data.get("metadata"))) > MAX_METADATA:
        detail = f"This is larger than {MAX_METADATA} bytes."
        raise TooLarge(errors=(FieldError("/metadata", Code.TOO_LARGE, detail),))
    try:
        return msgspec.convert({name: value for name, value in data.items() if value is not None}, _Head)
    except msgspec.ValidationError as error:
        raise Invalid(errors=(fault_of(error),)) from None


def _survey(run: Run) -> str:
    """Read all messages once, and note what the whole run is asked for; the digest of its messages."""
    digest = hashlib.sha256()
    opened: dict[str, Position] = {}
    for index, text in enumerate(run.slices):
        work.check()
        data = parse_message(text, index)
        sent = msgspec.json.encode(data, order="sorted")
        message = message_of(data, index)
        digest.update((b"," if index else b"[") + sent)
        run.size += len(sent) + 1
        run.parts += message.parts
        _refuse_more("calls, results and thoughts", run.parts, MAX_PARTS)
        if message.role == "user" and not run.title and (seen := re.search(VISIBLE_CHARACTER, message.text)):
            run.title = one_line(message.text[seen.start() : seen.start() + 10 * MAX_TITLE], MAX_TITLE)
        if message.role == "assistant" and has_visible(message.reply):
            run.reply = message.reply[:MAX_REPLY]
        for number, result in enumerate(message.results):
            if (call_at := opened.get(result.id or result.name or "")) is not None:
                run.answers[index, number] = call_at
        for number, call in enumerate(message.calls):
            opened[call.id or call.name] = index, number
        del data, message  # one of 8 MiB may take 32, and not twice
    digest.update(b"]")
    return digest.hexdigest()


def _refuse_more(what: str, found: int, most: int) -> None:
    if found > most:
        detail = f"A run may have at most {most} {what}."
        raise TooLarge(errors=(FieldError("/messages", Code.TOO_LONG, detail),))


def _check_key(key: str) -> None:
    try:
        parse_task_key(key)
    except ValueError as error:
        raise _no_key(Code.BAD_FORMAT, f"task_id and trial make the key {key[:80]!r}: {error}") from None
    if len(key) > MAX_KEY:
        raise _no_key(Code.TOO_LONG, f"task_id and trial make a key of more than {MAX_KEY} characters.")


def _no_key(code: Code, detail: str) -> Invalid:
    return Invalid(errors=(FieldError("/task_id", code, detail),))


def one_line(text: str, longest: int) -> str:
    """The text as one printable line, cut at a word to at most `longest` characters."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    if len(line) <= longest:
        return line
    return line[: longest - 1].rsplit(" ", 1)[0] + "…"
