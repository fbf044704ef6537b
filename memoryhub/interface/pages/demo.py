"""Whether people of the demo can sign in here, which every page shows."""

import time
from typing import Any

from django.http import HttpRequest

from memoryhub.core.models import Actor

ASKED_SECONDS = 30.0  # how long a result is cached; the demo is created before the web process starts

_known: tuple[bool, float] = (False, 0.0)


def has_demo_people() -> bool:
    """Whether an active account of the demo exists, as of the last half minute."""
    global _known
    is_demo, until = _known
    if until < time.monotonic():
        is_demo = Actor.objects.filter(is_demo=True, is_active=True).exists()
        _known = is_demo, time.monotonic() + ASKED_SECONDS
    return is_demo


def last_known() -> bool:
    """The cached result, without a query: for error pages."""
    return _known[0]


def context(request: HttpRequest) -> dict[str, Any]:
    """A context processor: `has_demo_people`, called only by a template that shows it."""
    return {"has_demo_people": has_demo_people}
