"""The reason and the question of an escalation, from what a recorded agent said when it handed over."""

import re
from typing import Any

from agents.imports.rows import PART
from agents.imports.runs import one_line
from memoryhub.core.fields import has_visible

NO_SUMMARY = "The recorded run handed over to a person without a summary."
NO_QUESTION = "What shall be done for this customer?"
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


def summary_of(arguments: Any, beside: str) -> str:
    """The summary in a handoff call's arguments, else the text beside the call."""
    if isinstance(arguments, dict):
        words = [value for value in (arguments.get("summary"), *arguments.values()) if isinstance(value, str)]
        return next(filter(has_visible, words), beside or NO_SUMMARY)
    return arguments if isinstance(arguments, str) and has_visible(arguments) else beside or NO_SUMMARY


def code_and_question(summary: str) -> tuple[str, str]:
    """The reason code, and the last sentence that asks for something, of a summary of at most PART characters."""
    code = next((code for pattern, code in REASONS if re.search(pattern, summary, re.IGNORECASE)), "other")
    sentences = re.split(r"(?<=[.!?])\s+", summary.strip())
    asking = [sentence for sentence in sentences[1:] if _ASKING.search(sentence)]
    return code, one_line(asking[-1], PART) if asking else NO_QUESTION
