"""The timeline's items in a template."""

from django import template

from escalations.desk.items import as_html

register = template.Library()
register.filter("as_items", as_html)
