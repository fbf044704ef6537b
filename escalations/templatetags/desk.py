"""How the desk shows what agents wrote: as text, with everything made visible that could mislead the eye."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from escalations import selectors
from escalations.models import Escalation, Priority
from memoryhub.core import work
from memoryhub.core.labels import label_by_id
from memoryhub.core.unseen import UNSEEN, number_of, show

register = template.Library()

_LONGEST = 4_000  # characters of one text in a list; the item itself, opened alone, shows all
_MOST_MEMBERS = 60
_DEEPEST = 8
_MOST_LEAVES = 200  # of one value in a list, over all its levels
_CALL = {"tool": 0, "arguments": 1, "result": 2}
_REASONS = {"approval_required": "approval"}
# What happened, in the words of the desk, by the type of its event.
_PHRASES = {
    "escalation.escalate": "escalated",
    "escalation.claim": "took it over",
    "escalation.release": "put it back into the queue",
    "escalation.run_out": "found the claim over: back into the queue",
    "escalation.withdraw": "found that it cannot be answered from there: back into the queue, nothing was sent",
    "escalation.note": "noted",
    "escalation.decide": "answered",
    "escalation.hand_back": "handed it back to the agent",
    "escalation.finish": "did the work and closed it",
    "escalation.acknowledge": "has the answer and goes on",
    "escalation.close_unacknowledged": "closed it: the agent never took the answer",
    "escalation.cancel": "cancelled it",
    "escalation.keep": "is still on it",
    "task.create": "made the task",
    "task.claim": "claimed the task",
    "task.renew": "renewed the lease",
    "task.release": "released the task",
    "task.run_out": "ended the lease: its time had run out",
    "task.complete": "completed the task",
    "task.fail": "gave the task up as failed",
    "task.reopen": "reopened the task",
    "task.update": "changed the task",
    "decision.revoke": "revoked",
    "decision.outcome": "said what came of",
    "observation": "observed",
    "decision": "decided",
}
_VERDICTS = {
    "approve": "approved",
    "edit": "approved with changes",
    "respond": "responded",
    "reject": "rejected",
    "ignore": "chose to ignore it",
    "finish": "finished",
}


@register.filter
def plain(text: object) -> SafeString:
    """Untrusted text, escaped, with control, bidi and invisible characters shown as their numbers."""
    return mark_safe(UNSEEN.sub(_show_odd, str(conditional_escape("" if text is None else str(text)))))  # noqa: S308


def _show_odd(found: re.Match[str]) -> str:
    return f'<span class="odd" title="an invisible or control character">{number_of(found[0])}</span>'


@register.filter
def in_input(text: str) -> str:
    """Untrusted text for an input, its unseen characters as marks; what reads the form reads them back."""
    return show(text)


@register.filter
def one_line(value: Any, longest: int = 160) -> str:
    """A JSON value in one line of text, cut at `longest` characters."""
    line = " ".join(_flat(value).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def _flat(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value[:1000]
    if isinstance(value, dict):
        return _call(value, depth) if isinstance(value.get("tool"), str) else _members(value, depth)
    if isinstance(value, list):
        return ", ".join(_flat(part, depth + 1) for part in value[:6]) + (", …" if len(value) > 6 else "")
    return _scalar(value)


def _call(value: dict[str, Any], depth: int) -> str:
    """A tool call, and what it gave: `get_order(id: 7) → paid: 80`."""
    arguments = value.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        return _members(value, depth)
    called = f"{value['tool']}({_members(arguments, depth)})" if arguments is not None else value["tool"]
    given = ", ".join(
        _flat(value[name], depth + 1) if name == "result" else f"{name}: {_flat(value[name], depth + 1)}"
        for name in value
        if name not in ("tool", "arguments")
    )
    return f"{called} → {given}" if given else called


@register.filter
def outcome(content: Any, decision: Any) -> Any:
    """What an observation says that the decision before it did not: of the same tool's call, only its result."""
    if not isinstance(content, dict) or not isinstance(decision, dict) or not {"tool", "result"} <= content.keys():
        return content
    same = all(content.get(name) == decision.get(name) for name in ("tool", "arguments"))
    return content["result"] if same else content


def _members(value: dict[str, Any], depth: int) -> str:
    if depth >= 3:
        return "…"
    return ", ".join(f"{name}: {_flat(part, depth + 1)}" for name, part in list(value.items())[:8])


def _scalar(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


@register.filter
def tree(value: Any) -> SafeString:
    """A JSON value as nested lists of names and values; long ones are cut, and say so."""
    return _tree(value, 0, _LONGEST, [_MOST_LEAVES])


@register.filter
def whole_tree(value: Any) -> SafeString:
    """The same, with nothing cut."""
    return _tree(value, 0, None, [])


def _tree(value: Any, depth: int, longest: int | None, left: list[int]) -> SafeString:
    """`left`: how many more values may be shown, counted down; ignored where nothing is cut."""
    if isinstance(value, dict | list) and not value:
        return format_html('<span class="text-secondary">{}</span>', "empty")
    if isinstance(value, dict):
        return _list(((plain(name), part) for name, part in _in_order(value)), len(value), depth, longest, left)
    if isinstance(value, list):
        if all(not isinstance(part, dict | list) for part in value) and len(value) <= _MOST_MEMBERS:
            value = ", ".join(_scalar(part) for part in value)
        else:
            numbered = ((str(index + 1), part) for index, part in enumerate(value))
            return _list(numbered, len(value), depth, longest, left)
    text = value if isinstance(value, str) else _scalar(value)
    if longest is not None and len(text) > longest:
        return format_html(
            '{}<span class="cut">… {} more characters</span>', plain(text[:longest]), len(text) - longest
        )
    return plain(text)


def _in_order(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The members; of a tool call what was called with what before what it gave (the database keeps no order)."""
    if not isinstance(value.get("tool"), str):
        return value.items()
    return sorted(value.items(), key=lambda member: _CALL.get(member[0], len(_CALL)))


def _list(
    members: Iterable[tuple[str, Any]], count: int, depth: int, longest: int | None, left: list[int]
) -> SafeString:
    if longest is not None and depth >= _DEEPEST:
        return format_html('<span class="cut">… {} more inside</span>', count)
    shown: list[tuple[str, SafeString]] = []
    for name, part in members:
        work.check()
        if longest is not None:
            if len(shown) >= _MOST_MEMBERS or left[0] <= 0:
                break
            left[0] -= 1
        shown.append((name, _tree(part, depth + 1, longest, left)))
    rows = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", shown)
    more = count - len(shown)
    told = format_html('<div class="cut">… {} more</div>', more) if more else ""
    return format_html('<dl class="tree">{}{}</dl>', rows, told)


@register.filter
def need(row: Escalation) -> str | None:
    """What a row asks, in one line; None when it is sealed."""
    asked = selectors.need(row)
    return None if asked is None else one_line(asked, 220)


@register.filter
def priority_name(row: Escalation) -> str:
    """low, normal, high or urgent."""
    return Priority(row.priority).label


@register.filter
def label_name(row: Escalation) -> str:
    """`confidential+finance`"""
    return str(label_by_id(row.label_id))


@register.filter
def compartments(row: Escalation) -> str:
    """`finance, pii`"""
    return ", ".join(label_by_id(row.label_id).compartments)


@register.filter
def reason(code: str) -> str:
    """A reason code, in words."""
    return _REASONS.get(code, code.replace("_", " "))


@register.filter
def phrase(event_type: str | None) -> str:
    """What an event says happened."""
    return _PHRASES.get(event_type or "", (event_type or "").replace(".", " ").replace("_", " "))


@register.filter
def verdict(name: str | None) -> str:
    """What a person answered, in words."""
    return _VERDICTS.get(name or "", name or "")


@register.filter
def state(name: str) -> str:
    """A state, in words."""
    return name.replace("_", " ")


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago, in the largest fitting unit; the browser keeps it up to date."""
    if moment is None:
        return ""
    return _length(int((datetime.now(UTC) - moment).total_seconds()))


@register.filter
def left(moment: datetime | None) -> str:
    """How long until then."""
    if moment is None:
        return ""
    return _length(int((moment - datetime.now(UTC)).total_seconds()))


def _length(seconds: int) -> str:
    seconds = max(0, seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def iso(moment: datetime | None) -> str:
    """For a `datetime` attribute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


@register.filter
def clock_time(moment: datetime) -> str:
    """Day and time in UTC, until the browser shows it in the reader's own zone."""
    return moment.astimezone(UTC).strftime("%d %b %H:%M")
