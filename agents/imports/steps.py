"""A recorded run as the observations, decisions and escalations to create, message by message."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

import orjson

from agents.imports.runs import Message, Run, ToolCall, one_line
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge
from memoryhub.core.fields import MAX_CONTENT_BYTES, has_visible
from memoryhub.interface.http.json import parse_object
from memoryhub.interface.http.shapes import parse_key

READING_TOOLS = ("get_*", "list_*", "search_*", "find_*", "calculate")
THINK = "think"
HANDOFF = "transfer_to_human_agents"
MAX_TEXT = 20_000  # of a reason, a question, a reasoning
MAX_TAG = 100
MAX_MATCHES = 50_000  # in one import, of a tool with a pattern: 0.1 to 40 µs each
MAX_GROWTH = 4  # times its messages' bytes a run may become, or 256 KiB where that is more; recorded ones stay below 1
NO_REASONING = "The recorded run gives no reasoning for this call."
NO_SUMMARY = "The recorded run handed over to a person without a summary."
NO_QUESTION = "What shall be done for this customer?"


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
    """`ref` is the client_ref: the run's key and the message's position, and for a call its place in the message."""

    ref: str
    content: Any
    tags: tuple[str, ...]
    private: bool = False


@dataclass(frozen=True, slots=True)
class DecisionStep:
    ref: str
    decision: dict[str, Any]
    reasoning: str


@dataclass(frozen=True, slots=True)
class EscalationStep:
    ref: str
    reason_code: str
    reason: str
    question: str


Step = ObservationStep | DecisionStep | EscalationStep


def plan(run: Run, rules: Rules) -> list[Step]:
    """The run's steps in order. Raises Invalid, TooLarge for what the memory cannot store."""
    steps: list[Step] = []
    made, most = 0, max(MAX_CONTENT_BYTES, MAX_GROWTH * run.size)
    for step in _steps(run, rules):
        work.check()
        sizes = [len(orjson.dumps(text)) for text in _texts(step)]
        made += sum(sizes)
        if max(sizes) > MAX_CONTENT_BYTES:
            raise _too_large(step, f"is larger than {MAX_CONTENT_BYTES} bytes.")
        if made > most:
            why = "a text is stored with each of its calls, arguments with each result. Shorten or split it."
            raise _too_large(step, f"makes the run larger than {most} bytes: {why}")
        steps.append(step)
    return steps


def _too_large(step: Step, why: str) -> TooLarge:
    position = step.ref.rpartition(":")[2].partition(".")[0]
    detail = f"What message {position} holds {why}"
    return TooLarge(errors=(FieldError(f"/messages/{position}", Code.TOO_LARGE, detail),))


def _texts(step: Step) -> tuple[Any, ...]:
    match step:
        case ObservationStep():
            return (step.content,)
        case DecisionStep():
            return step.decision, step.reasoning
        case EscalationStep():
            return step.reason, step.question


def _steps(run: Run, rules: Rules) -> Iterator[Step]:
    open_calls: dict[str, tuple[str, Any]] = {}
    for position, message in enumerate(run.messages):
        try:
            yield from _steps_of(f"{run.key}:{position}", message, open_calls, rules)
        except ValueError as error:  # of a tool's name
            raise Invalid(errors=(FieldError(f"/messages/{position}", Code.BAD_FORMAT, str(error)),)) from None


def _steps_of(ref: str, message: Message, open_calls: dict[str, tuple[str, Any]], rules: Rules) -> Iterator[Step]:
    text = message.text
    if message.role == "user":
        yield from _said(ref, text, "user")
    elif message.role == "assistant":
        calls = [(call, _tool(call.function.name)) for call in message.calls]
        # Beside an acting call the text is that decision's reasoning.
        if not any(rules.acts(name) for _, name in calls):
            yield from _said(ref, text, "reply")
        # Read once for all calls, and arguments once for all results: quadratic, megabytes of them took hours.
        beside = text[:MAX_TEXT] if calls and has_visible(text) else ""
        for index, (call, name) in enumerate(calls):
            arguments = _arguments(call)
            open_calls[call.id or name] = name, arguments
            yield from _called(f"{ref}.{index}", name, arguments, beside, rules)
    elif message.role in ("tool", "function"):
        name, arguments = open_calls.get(message.tool_call_id or message.name or "", ("tool", {}))
        yield from _returned(ref, _tool(message.name or name), arguments, text)
    else:
        # Prompts are private to the agent, and so are unknown roles.
        yield from _said(ref, text, _tag(message.role), private=True)


def _said(ref: str, text: str, tag: str, *, private: bool = False) -> Iterator[ObservationStep]:
    if has_visible(text):
        yield ObservationStep(ref, text, (tag,), private)


def _called(ref: str, name: str, arguments: Any, beside: str, rules: Rules) -> Iterator[Step]:
    if name == THINK:
        thought = arguments.get("thought") if isinstance(arguments, dict) else arguments
        if isinstance(thought, str):
            yield from _said(ref, thought, THINK, private=True)
        else:
            yield ObservationStep(ref, {"arguments": arguments}, (THINK,), private=True)
    elif name == rules.handoff_tool:
        yield _ask(ref, arguments, beside)
    elif rules.acts(name):
        yield DecisionStep(ref, {"tool": name, "arguments": arguments}, beside or NO_REASONING)


def _returned(ref: str, name: str, arguments: Any, text: str) -> Iterator[ObservationStep]:
    if name == THINK:
        yield from _said(ref, text, THINK, private=True)
    else:
        yield ObservationStep(ref, {"tool": name, "arguments": arguments, "result": _value(text)}, (_tag(name),))


def _arguments(call: ToolCall) -> Any:
    given = call.function.arguments
    return _value(given or "{}") if isinstance(given, str) else given


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


# The reason code, inferred from a summary; the first pattern that matches counts.
REASONS = (
    (r"\b(error|mismatch|fail(s|ed|ure)?|does not work|malfunction)", "tool_failure"),
    (r"\b(discrepancy|contradict\w*|but the system shows)", "conflict"),
    (
        r"\b(exception|polic(y|ies)|restrictions?|not possible|ineligible|not eligible|beyond|do(es)? not meet)\b",
        "policy_exception",
    ),
    (r"\b(request\w*|wants?|wish\w*|asks?|asking|seeks?|seeking|would like|needs?)\b", "customer_request"),
)
_ASKING = re.compile(
    r"\b(please|requests?|requesting|needs?|seek(s|ing)?|assist(ance)?|required|wishes|escalate)\b", re.IGNORECASE
)


def _ask(ref: str, arguments: Any, beside: str) -> EscalationStep:
    """The escalation of a handoff call: the summary is the reason, its last sentence that asks is the question."""
    summary = beside or NO_SUMMARY
    if isinstance(arguments, dict):
        words = [value for value in (arguments.get("summary"), *arguments.values()) if isinstance(value, str)]
        summary = next(filter(has_visible, words), summary)
    elif isinstance(arguments, str) and has_visible(arguments):
        summary = arguments
    summary = summary[:MAX_TEXT]  # what is stored of it; splitting megabytes took seconds
    code = next((code for pattern, code in REASONS if re.search(pattern, summary, re.IGNORECASE)), "other")
    sentences = re.split(r"(?<=[.!?])\s+", summary.strip())
    asking = [sentence for sentence in sentences[1:] if _ASKING.search(sentence)]
    question = one_line(asking[-1], MAX_TEXT) if asking else NO_QUESTION
    return EscalationStep(ref, code, summary, question)
