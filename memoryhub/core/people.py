"""Signing in: people only."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from memoryhub.core.models import Actor, Kind


class PeopleBackend(ModelBackend):
    """Django's password check, which refuses agents and the system whatever they send."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> Actor | None:
        found = super().authenticate(request, username=username, password=password)
        return found if isinstance(found, Actor) and found.kind == Kind.HUMAN else None

    def user_can_authenticate(self, user: Any) -> bool:
        return isinstance(user, Actor) and user.is_active and user.kind == Kind.HUMAN
