"""The timeline's items as the desk shows them: no more of them at once than a page or a frame may hold."""

from collections.abc import Iterable
from dataclasses import replace

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from escalations.desk.entries import Item


def as_html(items: Iterable[Item], most_bytes: int) -> SafeString:
    """The items, each a `li`."""
    return mark_safe("".join(as_htmls(items, most_bytes)))  # noqa: S308  (of our templates)


def as_htmls(items: Iterable[Item], most_bytes: int) -> list[str]:
    """The items, each a `li`. What finds no room is there without its text, and is opened by a click.

    A character that cannot be seen is shown as some seventy, so that the bytes of a text tell little of its size here.
    """
    made: list[str] = []
    left = most_bytes
    for item in items:
        shown = _item(item) if left else ""
        if left < (size := len(shown.encode())) or not left:
            left = 0
            made.append(_item(replace(item, text=None, tags=())))
        else:
            left -= size
            made.append(shown)
    return made


def _item(item: Item) -> str:
    return render_to_string("escalations/_item.html", {"item": item})
