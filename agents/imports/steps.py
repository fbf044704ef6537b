"""A recorded run as the observations, decisions and escalations to create, message by message."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import translate
from typing import Any

import orjson

from agents.imports.handoffs import code_and_question, summary_of
from agents.imports.messages import Call, Message, Result, is_said
from agents.imports.rows import NONE, Described, fit, pieces, size_of
from agents.imports.runs import Position, Run
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge
from memoryhub.core.fields import MAX_CONTENT_BYTES, has_visible
from memoryhub.interface.http.json import format_when, parse_object
from memoryhub.interface.http.shapes import parse_key

READING_TOOLS = ("get_*", "list_*", "search_*", "find_*", "calculate")
THINK = "think"
HANDOFF = "transfer_to_human_agents"
MAX_TAG = 100
MAX_MATCHES = 50_000  # in one import, of a tool with a pattern: 0.1 to 40 µs each
MAX_GROWTH = 4  # times its messages' bytes a run may become, or 256 KiB where that is more; recorded ones stay below 2
NO_REASONING = "The recorded run gives no reasoning for this call."


@dataclass(slots=True)
class Rules:
    """Which tool calls are decisions, and which one hands over to a person, in one import.

    `acting_tools`: names or patterns such as `book_*`; None: all but the reading ones.
    """

    acting_tools: tuple[str, ...] | None = None
    handoff_tool: str = HANDOFF
    _fits: list[Callable[[str], object]] = field(init=False)
    _known: dict[str, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        # Not by fnmatch(), which caches 32,768 patterns, of any client; re caches 512.
        patterns = READING_TOOLS if self.acting_tools is None else self.acting_tools
        self._fits = [re.compile(translate(pattern)).match for pattern in patterns]

    def acts(self, tool: str) -> bool:
        """Whether a call of this tool is a decision. Raises TooLarge beyond MAX_MATCHES."""
        if tool in (THINK, self.handoff_tool):
            return False
        if tool not in self._known:
            work.check()
            if (len(self._known) + 1) * len(self._fits) > MAX_MATCHES:
                detail = f"Tools times patterns may be at most {MAX_MATCHES}; send fewer runs or patterns."
                raise TooLarge(errors=(FieldError("/messages", Code.TOO_LONG, detail),))
            self._known[tool] = any(fits(tool) for fits in self._fits) == (self.acting_tools is not None)
        return self._known[tool]


@dataclass(frozen=True, slots=True)
class ObservationStep:
    """`ref` is the client_ref: the run's key and the message's position, and what of the message it is.

    `at`: when it was; `lost`: the inline files that the row only describes.
    """

    ref: str
    content: Any
    tags: tuple[str, ...]
    private: bool = False
    at: datetime | None = None
    lost: Described = NONE


@dataclass(frozen=True, slots=True)
class DecisionStep:
    ref: str
    decision: dict[str, Any]
    reasoning: str
    lost: Described = NONE


@dataclass(frozen=True, slots=True)
class EscalationStep:
    ref: str
    reason_code: str
    reason: str
    question: str


Step = ObservationStep | DecisionStep | EscalationStep


def plan(run: Run, rules: Rules) -> Iterator[Step]:
    """The run's steps in order, made as they are asked for. Raises Invalid, TooLarge for what cannot be stored."""
    made, most = 0, max(MAX_CONTENT_BYTES, MAX_GROWTH * run.size)
    opened: dict[Position, _Open] = {}
    answered = set(run.answers.values())
    for index, message in enumerate(run.messages()):
        here = f"/messages/{index}"
        try:
            for step in _Reader(run, rules, index, message, opened, answered).steps():
                work.check()
                made += sum(map(size_of, _texts(step)))
                if not isinstance(step, EscalationStep):
                    made += step.lost.size  # which was read for this row
                if made > most:
                    why = "a text is stored with each of its calls, arguments with each result. Shorten or split it."
                    detail = f"Message {index} makes the run larger than {most} bytes: {why}"
                    raise TooLarge(errors=(FieldError(here, Code.TOO_LARGE, detail),))
                yield step
                del step
        except ValueError as error:  # of a tool's name
            raise Invalid(errors=(FieldError(here, Code.BAD_FORMAT, str(error)),)) from None
        del message  # one of 8 MiB may take 32, and not twice


def _texts(step: Step) -> tuple[Any, ...]:
    match step:
        case ObservationStep():
            return (step.content,)
        case DecisionStep():
            return step.decision, step.reasoning
        case EscalationStep():
            return step.reason, step.question


@dataclass(frozen=True, slots=True)
class _Open:
    """A call, with its arguments read once for all its results: `encoded` as UTF-8, which takes least memory."""

    call: Call
    encoded: bytes
    at: datetime | None

    @classmethod
    def of(cls, call: Call, at: datetime | None) -> "_Open":
        return cls(replace(call, arguments=None), orjson.dumps(_arguments(call)), at)

    @property
    def arguments(self) -> Any:
        return orjson.loads(self.encoded)


@dataclass(slots=True)
class _Reader:
    """Makes the steps of one message. `opened`: the run's calls so far; `answered`: those that have a result."""

    run: Run
    rules: Rules
    index: int
    message: Message
    opened: dict[Position, _Open]
    answered: set[Position]
    asked: tuple[str, str] | None = None  # reason code and question, where the text beside its calls is their summary

    @property
    def ref(self) -> str:
        return f"{self.run.key}:{self.index}"

    def steps(self) -> Iterator[Step]:
        """Thoughts, results, what is said, calls."""
        message = self.message
        calls = [(call, _tool(call.name)) for call in message.calls]
        for number, thought in enumerate(message.thoughts):
            yield from self._rows(f"{self.ref}@t{number}", thought, THINK, private=True)
        for number, result in enumerate(message.results):
            yield from self._returned(number, result)
        # Looked at once for all calls: quadratic, megabytes of it took hours.
        beside = message.text if calls and has_visible(message.text) else ""
        is_acting = any(self.rules.acts(name) for _, name in calls)
        yield from self._said(beside if is_acting else "")
        reasoning = pieces(beside)
        for number, (call, _) in enumerate(calls):
            opened = _Open.of(call, message.at)
            if (self.index, number) in self.answered:
                self.opened[self.index, number] = opened
            yield from self._called(number, opened, beside, reasoning)
        if is_acting:
            yield from self._continued(self.ref, "reasoning", reasoning, "reasoning")

    def _said(self, reasoning: str) -> Iterator[Step]:
        """What the message says, unless that is its calls' `reasoning`; a message without any other row has this."""
        message, tag = self.message, _tag(self.message.role)
        body = dict(message.more)
        if tag != message.role:
            body["role"] = message.role
        if message.content and message.content != reasoning:
            body["content"] = message.content
        if not (body or message.parts):
            body["content"] = ""
        is_text = body.keys() == {"content"} and isinstance(body["content"], str) and has_visible(body["content"])
        if body:
            # Prompts are private to the agent, and so are unknown roles.
            private = message.role not in ("user", "assistant")
            tag = "reply" if message.role == "assistant" else tag
            yield from self._rows(self.ref, body["content"] if is_text else body, tag, private=private)

    def _called(self, number: int, opened: _Open, beside: str, reasoning: list[str]) -> Iterator[Step]:
        ref, name, tag = f"{self.ref}.{number}", opened.call.name, _tag(opened.call.name)
        is_open = (self.index, number) not in self.answered
        if name == THINK:
            yield from self._rows(ref, _thought(opened), THINK, private=True)
        elif name == self.rules.handoff_tool:
            given = opened.arguments
            summary = summary_of(given, beside)
            if is_open or opened.at or given not in ({"summary": summary}, summary):
                yield from self._rows(f"{ref}@call", _row(opened), tag)
            if summary is beside:  # which is a row of its own, and looked at once for all calls
                reason = reasoning[0]
                asked = self.asked = self.asked or code_and_question(reason)
            else:
                reason, *_ = parts = pieces(summary)
                yield from self._continued(ref, "summary", parts, tag)
                asked = code_and_question(reason)
            code, question = asked
            yield EscalationStep(ref, code, reason, question)
        elif self.rules.acts(name):
            decision = _row(opened) | ({"reasoning_parts": len(reasoning)} if len(reasoning) > 1 else {})
            if opened.at:
                decision["occurred_at"] = format_when(opened.at)
            (first, *rest), lost = fit(decision)
            yield DecisionStep(ref, first, reasoning[0] or NO_REASONING, lost)
            for part, content in enumerate(rest, 2):
                yield ObservationStep(f"{ref}~{part}", content, (tag,), False, opened.at)
        elif is_open:
            yield from self._rows(f"{ref}@call", _row(opened), tag)

    def _returned(self, number: int, result: Result) -> Iterator[Step]:
        answers = self.run.answers.get((self.index, number))
        opened = self.opened.get(answers) if answers else None
        called = opened.call.name if opened else "tool"
        name = _tool(result.name or called)
        row = _row(opened) if opened else {"tool": name, "arguments": {}, "call": result.id}
        of_call, of_result = row.pop("more", None), {key: one for key, one in result.more.items() if is_said(one)}
        is_thought = THINK in (called, name)
        if is_thought:  # of which the call has a row
            row, of_call = {"call": result.id}, None
        row |= {
            "tool": name,
            "called": called if opened and called != name else None,
            "called_at": format_when(opened.at) if opened and opened.at else None,
            "is_error": of_result.pop("is_error", None),
            "more": {key: one for key, one in (("call", of_call), ("result", of_result)) if one},
        }
        row = {key: one for key, one in row.items() if key in ("arguments", "input") or is_said(one)}
        row["result"] = _value(result.content) if isinstance(result.content, str) else result.content
        is_own = self.message.role in ("tool", "function") and number == len(self.message.results) - 1
        ref = self.ref if is_own else f"{self.ref}@r{number}"
        yield from self._rows(ref, row, _tag(name), private=is_thought)

    def _rows(self, ref: str, content: Any, tag: str, *, private: bool = False) -> Iterator[Step]:
        contents, lost = fit(content)
        for part, one in enumerate(contents, 1):
            yield ObservationStep(ref if part == 1 else f"{ref}~{part}", one, (tag,), private, self.message.at, lost)
            lost = NONE

    def _continued(self, ref: str, name: str, parts: list[str], tag: str) -> Iterator[Step]:
        """The parts of a text after the first, which stands in a decision or an escalation."""
        for part, text in enumerate(parts[1:], 2):
            content = {"part": part, "of": len(parts), name: text}
            yield ObservationStep(f"{ref}~{name[0]}{part}", content, (tag,), False, self.message.at)


def _row(opened: _Open) -> dict[str, Any]:
    """A call as a row holds it."""
    call = opened.call
    row = {"tool": call.name, call.field: opened.arguments}
    return row | {name: value for name, value in (("call", call.id), ("more", call.more)) if value}


def _thought(opened: _Open) -> Any:
    """A call of the tool for thinking: the thought alone where it has no more."""
    given, row = opened.arguments, _row(opened)
    if isinstance(given, dict) and given.keys() == {"thought"}:
        given = given["thought"]
    if not isinstance(given, str):
        return row
    row = {"thought": given, **{name: value for name, value in row.items() if name in ("call", "more")}}
    return given if len(row) == 1 and has_visible(given) else row


def _arguments(call: Call) -> Any:
    given = {} if call.arguments is None else call.arguments
    return _value(given or "{}") if isinstance(given, str) and call.field == "arguments" else given


def _value(text: str) -> Any:
    """A JSON object or list where the text is one that the memory can hold, else the text itself."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "["):
        return text
    try:
        parsed = parse_object(b'{"value":' + stripped.encode() + b"}")
    except (Invalid, TooLarge):
        return text
    # A text that closes our object and opens another is no value.
    return parsed["value"] if len(parsed) == 1 else text


def _tool(name: str) -> str:
    try:
        return parse_key(name)
    except ValueError as error:
        raise ValueError(f"The tool name {name[:80]!r}: {error}") from None


def _tag(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._:@~-]", "_", name)[:MAX_TAG] or "unknown"
