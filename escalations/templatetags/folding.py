"""Long texts on the desk: the beginning is shown, the rest is one click away, and no button moves."""

import unicodedata
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from escalations.desk import argument_fields
from escalations.json_text import arguments_of, has_arguments
from escalations.templatetags.desk import plain
from memoryhub.core.unseen import UNSEEN

register = template.Library()

LINES, WIDTH = 6, 46  # as on a phone; a wide screen needs fewer lines
LEAST = 80  # characters: a shorter rest is not worth a fold


@register.simple_tag
def folded(text: object, tag: str = "p") -> SafeString:
    """A text in this element: some six lines of it, and the rest in a fold."""
    words = "" if text is None else str(text)
    end = beginning(words)
    if len(words) - end <= LEAST and "\n" not in words[end:]:
        end = len(words)
    is_folded = end < len(words)
    style = "words is-folded" if is_folded else "words"
    start = format_html('<{0} class="{1}"><bdi>{2}</bdi></{0}>', tag, style, plain(words[:end]))
    if not is_folded:
        return start
    return format_html(
        '{}<details class="fold"><summary>Show the rest ({} characters)</summary><div class="words"><bdi>{}</bdi></div>'
        "</details>",
        start,
        f"{len(words) - end:,}",
        plain(words[end:].lstrip("\n")),
    )


def beginning(text: str) -> int:
    """How many characters take about six lines; cut between words where possible."""
    left, line = LINES, 0.0
    for at, character in enumerate(text):
        is_counted = at and character == text[at - 1] and UNSEEN.fullmatch(character)  # in the mark before it
        line = 0.0 if character == "\n" else line + (0 if is_counted else _width(character))
        if character == "\n" or line > WIDTH:
            left, line = left - 1, 0.0
        if left <= 0:
            space = text.rfind(" ", max(0, at - 40), at)
            return space if space > 0 else at
    return len(text)


def _width(character: str) -> float:
    if UNSEEN.fullmatch(character):
        return 7  # its number is shown
    if unicodedata.combining(character):
        return 0.25
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@register.filter
def approved(text: dict[str, Any]) -> SafeString | None:
    """The arguments in an answer's text, as rows; None when it has none."""
    if not has_arguments(text):
        return None
    page = argument_fields.rows(arguments_of(text))
    shown = format_html_join(
        "",
        "<div><dt>{}</dt><dd>{}{}</dd></div>",
        ((plain(row.label), plain(row.text), _more(row.more, "characters")) for row in page.items),
    )
    more = format_html("<div>{}</div>", _more(page.more, "arguments")) if page.more else ""
    return format_html('<dl class="tree">{}{}</dl>', shown, more)


def _more(count: int, what: str) -> SafeString | str:
    return format_html('<span class="cut"> … {} more {}</span>', count, what) if count else ""
