"""/api/v1/: every door below, at its own address."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.urls import URLPattern, path, re_path, register_converter
from django.urls.converters import StringConverter

import agents.api
from agents.api import addresses
from memoryhub.core.fields import in_address

# What is requested most, since addresses are tried in order; then as the description has them. A new one comes last.
FIRST = ("observations", "me", "tasks", "context", "decisions", "learnings", "alerts", "facts", "search", "escalations")


class TaskKeyConverter(StringConverter):
    regex = in_address("task")


class FactKeyConverter(StringConverter):
    regex = in_address("fact")


register_converter(TaskKeyConverter, "task_key")
register_converter(FactKeyConverter, "fact_key")


def _doors() -> Iterator[Any]:
    """The classes with an address, in the order of their modules and within them."""
    names = sorted(module.name for module in pkgutil.iter_modules(agents.api.__path__))
    for name in (*FIRST, *(name for name in names if name not in (*FIRST, "urls"))):
        module = import_module(f"agents.api.{name}")
        for door in vars(module).values():
            if "address" in getattr(door, "__dict__", ()) and door.__module__ == module.__name__:
                yield door


urlpatterns: list[URLPattern] = [
    *(path(door.address, door.as_view()) for door in _doors() if hasattr(door, "as_view")),
    re_path("^(?:tasks|facts)/(?s:.)", addresses.refuse),
]
