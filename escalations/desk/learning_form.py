"""The form of a learning on the desk: filled from the escalation and its answer, read back as a learning."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from escalations.models import Answer, Escalation, Verdict
from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.memory.models import Signal

MOST_LINES = 30
_LONGEST = 200  # characters of a value that is worth a line
_SIGNALS = {Verdict.REJECT: Signal.FAILURE, Verdict.IGNORE: Signal.PATTERN}


def proposed(
    row: Escalation, text: Mapping[str, Any], answer: Answer, given: Mapping[str, Any], task: Mapping[str, Any]
) -> dict[str, str]:
    """What the form is filled with: `signal_type`, `details` and `context`, one line per member.

    `text`: of the escalation; `given`: of the answer; `task`: as it is rendered.
    """
    parts = [("Asked", text.get("question") or text.get("reason")), ("Answer", _answer(answer, given))]
    parts += [("Done", given.get("done")), ("Next", given.get("next"))]
    context = [("reason", row.reason_code), *_lines(task.get("metadata") or {}, "")]
    action = text.get("action") or {}
    if action.get("name"):
        context.insert(1, ("action", action["name"]))
    return {
        "signal_type": _SIGNALS.get(Verdict(answer.verdict), Signal.SUCCESS).value,
        "details": "\n".join(f"{name}: {words}" for name, words in parts if words),
        "context": "\n".join(f"{name}: {value}" for name, value in context[:MOST_LINES]),
    }


def _answer(answer: Answer, given: Mapping[str, Any]) -> str:
    message = given.get("message") or ""
    verdict = Verdict(answer.verdict).label.lower()
    if answer.verdict == Verdict.RESPOND:
        return message
    if answer.verdict == Verdict.FINISH:
        return ""
    return f"{verdict}: {message}" if message else verdict


def _lines(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """The members that fit on a line, with a dot between levels, as relevance compares them."""
    for name, value in node.items():
        path = f"{above}{name}"
        if isinstance(value, dict):
            if len(path) < _LONGEST:
                yield from _lines(value, f"{path}.")
        elif _is_line(path) and ":" not in path and not isinstance(value, list) and value is not None:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            if _is_line(shown):
                yield path, shown


def _is_line(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.strip() == text and text.isprintable()


def read_context(text: str) -> dict[str, str]:
    """The context of `name: value` lines. Raises Invalid for any other line, and for a repeated name."""
    made: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not name or not colon or not value:
            _refuse(Code.BAD_FORMAT, f"Line {number} is not of the form “name: value”.")
        if name in made:
            _refuse(Code.REPEATED, f"Line {number}: {name[:60]} appears twice.")
        made[name] = value
    return made


def _refuse(code: Code, detail: str) -> NoReturn:
    raise Invalid(errors=(FieldError("/context", code, detail),))
