"""The timeline's items in a template."""

from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString

from escalations.items import as_html
from escalations.timeline import Item

register = template.Library()

MOST_CHARS = 3 * 1024 * 1024  # of a page of the timeline, of which a case shows two


@register.filter
def as_items(items: Iterable[Item]) -> SafeString:
    """The items of a page of the timeline."""
    return as_html(items, MOST_CHARS)
