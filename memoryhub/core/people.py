"""Signing in: people only, and what is recorded of it."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db import connection
from django.http import HttpRequest

from memoryhub.core.models import Actor, ActorKind


class PeopleBackend(ModelBackend):
    """Django's password check, which refuses agents and the system whatever they send."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> Actor | None:
        found = super().authenticate(request, username=username, password=password)
        return found if isinstance(found, Actor) and found.kind == ActorKind.HUMAN else None

    def user_can_authenticate(self, user: Any) -> bool:
        return isinstance(user, Actor) and user.is_active and user.kind == ActorKind.HUMAN


def record(kind: str, username: str, address: str) -> None:
    """Count what happened at the sign-in page (SignInRecord.Kind). Of a name that nobody has, only that it happened.

    One statement, and the same one, whether the name exists or not: the time that it takes tells nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select record_sign_in(%s, (select id from actor where username = %s and kind = 'human'), %s)",
            [kind, username, address],
        )
