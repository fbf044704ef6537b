"""The timeline's items in a template."""

from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString

from escalations.desk.items import as_html
from escalations.desk.timeline import Item

register = template.Library()


@register.filter
def as_items(items: Iterable[Item], most_bytes: int) -> SafeString:
    """The items of a page of the timeline."""
    return as_html(items, most_bytes)
