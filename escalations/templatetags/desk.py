"""How the desk shows what agents wrote: as text, in which everything that could mislead the eye is visible."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.template import Context
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from escalations.desk import phrases
from escalations.models import Escalation
from escalations.states import IN_PROGRESS
from memoryhub.core import work
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.unseen import UNSEEN, number_of, show

register = template.Library()
for word in (phrases.happened, phrases.phrase, phrases.reason, phrases.verdict):
    register.filter(word)

_LONGEST = 4_000  # characters of one text in a list; the item itself, opened alone, shows all
_MOST_MEMBERS = 60
_DEEPEST = 8
_MOST_LEAVES = 200  # of one value in a list, over all its levels
# Characters of HTML, of which the mark of an invisible character takes some seventy: of these marks in one text (every
# second of 20,000 characters may be invisible), of a value in a list, and of a value alone.
_OF_MARKS, _OF_LISTED, _OF_WHOLE = 1024 * 1024, 512 * 1024, 5 * 1024 * 1024
_MEMBER = len('<dl class="tree"><div><dt></dt><dd></dd></div></dl>')
_EMPTY = mark_safe('<span class="text-secondary">empty</span>')
_RUN = re.compile(f"({UNSEEN.pattern})\\1*")
_CALL = {"tool": 0, "arguments": 1, "result": 2}


@register.filter
def plain(text: object, room: int = _OF_MARKS) -> SafeString:
    """Untrusted text, escaped; control, bidi and invisible characters are shown as their numbers (`U+200B ×300`).

    It is cut where these marks have taken `room` characters of HTML, and says how much follows.
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
    return f'<span class="odd" title="an invisible or control character">{_number(found)}</span>'


def _number(found: re.Match[str]) -> str:
    many = len(found[0])
    return number_of(found[1]) + (f" ×{many:,}" if many > 1 else "")


def as_read(text: str) -> str:
    """What `plain` shows of a text, as text."""
    return _RUN.sub(_number, text)


# Untrusted text for an input, its invisible characters as marks, which are read back from the form.
register.filter("in_input", show)


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
    """A tool call and its result: `get_order(id: 7) → paid: 80`."""
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
    """What an observation adds to the decision before it: of a call of the same tool, only the result."""
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
    """The same, cut only where it would exceed its share of the page."""
    return _tree(value, 0, _Room(_OF_WHOLE))


@register.simple_tag(takes_context=True)
def json_value(context: Context, value: Any) -> SafeString:
    """A value as `tree`; as `whole_tree` where the template shows it alone (`whole`)."""
    return whole_tree(value) if context.get("whole") else tree(value)


@dataclass(slots=True)
class _Room:
    """What a value may still take: characters of HTML; in a list also members, and `longest` characters of a text."""

    html: int
    leaves: int | None = None
    longest: int | None = None

    def fit(self, text: str) -> SafeString:
        """The text, as far as there is room."""
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
        if _is_line(value):
            value = ", ".join(_scalar(part) for part in value)
        else:
            numbered = ((str(index + 1), part) for index, part in enumerate(value))
            return _list(numbered, len(value), depth, room)
    return room.fit(value if isinstance(value, str) else _scalar(value))


def words_of(value: Any) -> Iterator[str]:
    """What `whole_tree` shows of a JSON value, in its order: names and values."""
    work.check()
    if isinstance(value, dict) and value:
        for name, part in _in_order(value):
            yield name
            yield from words_of(part)
    elif isinstance(value, list) and value and not _is_line(value):
        for number, part in enumerate(value, 1):
            yield str(number)
            yield from words_of(part)
    elif isinstance(value, dict | list):
        yield ", ".join(_scalar(part) for part in value) or "empty"
    else:
        yield value if isinstance(value, str) else _scalar(value)


def _is_line(value: list[Any]) -> bool:
    """Whether a list is shown in one line."""
    return len(value) <= _MOST_MEMBERS and all(not isinstance(part, dict | list) for part in value)


def _in_order(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The members; of a tool call in the order tool, arguments, result (the database keeps no order)."""
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
    ending = format_html('<div class="cut">… {} more</div>', more) if more else ""
    return format_html('<dl class="tree">{}{}</dl>', rows, ending)


@register.filter
def need(row: Escalation) -> str | None:
    """What a row of the queue needs, in one line; None when it is sealed."""
    asked: str | None = row.asked  # type: ignore[attr-defined]  # of desk.rows_by_id
    return None if asked is None else one_line(asked, 220)


@register.filter
def is_held(row: Escalation) -> bool:
    """Whether somebody works on the escalation."""
    return row.state in IN_PROGRESS


@register.filter
def label_name(row: Escalation) -> str:
    """`confidential+finance`"""
    return str(label_by_id(row.label_id))


@register.filter
def compartments(row: Escalation) -> str:
    """`finance, pii`"""
    return ", ".join(label_by_id(row.label_id).compartments)


@register.filter
def state(name: str) -> str:
    """A state, in words."""
    return name.replace("_", " ")


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago, in the largest unit that fits; the browser keeps it up to date."""
    return _length(datetime.now(UTC) - moment) if moment else ""


@register.filter
def left(moment: datetime | None) -> str:
    """How long until then."""
    return _length(moment - datetime.now(UTC)) if moment else ""


def _length(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
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
    """Day and time in UTC; the browser replaces it by the reader's own zone."""
    return moment.astimezone(UTC).strftime("%d %b %H:%M")
