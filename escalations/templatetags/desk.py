"""How the desk shows what agents wrote: as text, with everything made visible that could mislead the eye."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from escalations.models import Escalation, Priority
from memoryhub.core import work
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.unseen import UNSEEN, number_of, show

register = template.Library()

_LONGEST = 4_000  # characters of one text in a list; the item itself, opened alone, shows all
_MOST_MEMBERS = 60
_DEEPEST = 8
_MOST_LEAVES = 200  # of one value in a list, over all its levels
# Characters of HTML, of which a mark of what cannot be seen takes some seventy: of these marks in one text (in 20,000
# characters every second may be one), of a value in a list, and of a value alone.
_OF_MARKS, _OF_LISTED, _OF_WHOLE = 1024 * 1024, 512 * 1024, 5 * 1024 * 1024
_MEMBER = len('<dl class="tree"><div><dt></dt><dd></dd></div></dl>')
_EMPTY = mark_safe('<span class="text-secondary">empty</span>')
_RUN = re.compile(f"({UNSEEN.pattern})\\1*")
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
def plain(text: object, room: int = _OF_MARKS) -> SafeString:
    """Untrusted text, escaped, with control, bidi and invisible characters shown as their numbers (`U+200B ×300`).

    It ends where these marks have taken `room` characters of HTML, and says how much follows.
    """
    return _beginning("" if text is None else str(text), None, room)


def _beginning(text: str, longest: int | None, room: int) -> SafeString:
    """The same, of the first `longest` characters."""
    made, at, end = [], 0, len(text) if longest is None else min(longest, len(text))
    for found in _RUN.finditer(text, 0, end):
        mark = _mark(found)
        made += [escape(text[at : found.start()]), mark]
        at, room = found.end(), room - len(mark)
        if room <= 0:
            end = at
            break
    made.append(escape(text[at:end]))
    if end < len(text):
        made.append(format_html('<span class="cut">… {} more characters</span>', len(text) - end))
    return mark_safe("".join(made))  # noqa: S308


def _mark(found: re.Match[str]) -> str:
    many = len(found[0])
    told = number_of(found[1]) + (f" ×{many:,}" if many > 1 else "")
    return f'<span class="odd" title="an invisible or control character">{told}</span>'


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
    return _tree(value, 0, _Room(_OF_LISTED, _MOST_LEAVES, _LONGEST))


@register.filter
def whole_tree(value: Any) -> SafeString:
    """The same, cut only where it takes more of the page than it may."""
    return _tree(value, 0, _Room(_OF_WHOLE))


@dataclass(slots=True)
class _Room:
    """What a value may still take: characters of HTML; in a list, so many members, and `longest` of a text."""

    html: int
    leaves: int | None = None
    longest: int | None = None

    def fit(self, text: str) -> SafeString:
        """The text, or what finds room of it."""
        shown = _beginning(text, self.longest, self.html)
        self.html -= len(shown)
        return shown


def _tree(value: Any, depth: int, room: _Room) -> SafeString:
    if isinstance(value, dict | list) and not value:
        room.html -= _MEMBER
        return _EMPTY
    if isinstance(value, dict):
        return _list(_in_order(value), len(value), depth, room)
    if isinstance(value, list):
        if all(not isinstance(part, dict | list) for part in value) and len(value) <= _MOST_MEMBERS:
            value = ", ".join(_scalar(part) for part in value)
        else:
            numbered = ((str(index + 1), part) for index, part in enumerate(value))
            return _list(numbered, len(value), depth, room)
    return room.fit(value if isinstance(value, str) else _scalar(value))


def _in_order(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The members; of a tool call what was called with what before what it gave (the database keeps no order)."""
    if not isinstance(value.get("tool"), str):
        return value.items()
    return sorted(value.items(), key=lambda member: _CALL.get(member[0], len(_CALL)))


def _list(members: Iterable[tuple[str, Any]], count: int, depth: int, room: _Room) -> SafeString:
    if room.leaves is not None and depth >= _DEEPEST:
        return format_html('<span class="cut">… {} more inside</span>', count)
    shown: list[tuple[SafeString, SafeString]] = []
    for name, part in members:
        work.check()
        if room.html <= 0:
            break
        if room.leaves is not None:
            if len(shown) >= _MOST_MEMBERS or room.leaves <= 0:
                break
            room.leaves -= 1
        room.html -= _MEMBER
        shown.append((room.fit(name), _tree(part, depth + 1, room)))
    rows = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", shown)
    more = count - len(shown)
    told = format_html('<div class="cut">… {} more</div>', more) if more else ""
    return format_html('<dl class="tree">{}{}</dl>', rows, told)


@register.filter
def need(row: Escalation) -> str | None:
    """What a row of the queue asks, in one line; None when it is sealed."""
    asked: str | None = row.asked  # type: ignore[attr-defined]  # of desk.rows_by_id
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
