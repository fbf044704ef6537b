"""The queue's columns in a template."""

from functools import cache

from django import template
from django.template import Context, Engine
from django.template.base import NodeList
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from escalations.desk.queue import COLUMNS, Column, place

register = template.Library()
register.filter(place)


@register.simple_tag
def columns() -> tuple[Column, ...]:
    """The columns, in their order."""
    return COLUMNS


@register.simple_tag(takes_context=True)
def cells(context: Context) -> SafeString:
    """The cells of a `row`. With `for` and `include` in the template, a row would take half as long again."""
    assert context.template is not None
    made = (f"{start}{cell.render(context)}</td>" for start, cell in _cells(context.template.engine))
    return mark_safe("".join(made))  # noqa: S308  (of our templates)


@cache
def _cells(engine: Engine) -> list[tuple[SafeString, NodeList]]:
    """Each column's start tag and the content of its cell."""
    made = []
    for column in COLUMNS:
        style = format_html(' class="{}"', column.style) if column.style else ""
        start = format_html('<td role="cell" data-name="{}"{}>', column.name, style)
        made.append((start, engine.get_template(column.cell).nodelist))
    return made
