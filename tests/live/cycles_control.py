"""The product with the fault put back: a view, its request and its answer refer to each other when all is done."""

from typing import Any

from memoryhub.config.asgi import application  # first: it sets up Django

# isort: split
from rest_framework.views import APIView

from agents.api.doors import Endpoint

__all__ = ["application"]


def dispatch(self: Endpoint, request: Any, *args: Any, **kwargs: Any) -> Any:
    """As REST framework leaves it."""
    return APIView.dispatch(self, request, *args, **kwargs)


Endpoint.dispatch = dispatch  # type: ignore[method-assign]
