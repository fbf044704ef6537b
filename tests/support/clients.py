"""Django's test client, whose handler is one for all: each of its own would list the static files anew (0.2 s)."""

from functools import cache
from typing import Any

from django.test.client import Client, ClientHandler


def new_client(**options: Any) -> Client:
    """A client with cookies of its own; options as of Django's Client."""
    client = Client(**options)
    client.handler = _handler(client.handler.enforce_csrf_checks)
    return client


@cache
def _handler(enforce_csrf_checks: bool) -> ClientHandler:
    return ClientHandler(enforce_csrf_checks)
