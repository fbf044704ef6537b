"""Signing in: people only, and what is recorded of it."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from memoryhub.core.db.statements import run
from memoryhub.core.models import Actor, ActorKind


class PeopleBackend(ModelBackend):
    """Django's password check, which refuses agents and the system whatever they send."""

    def user_can_authenticate(self, user: Any) -> bool:
        return isinstance(user, Actor) and user.is_active and user.kind == ActorKind.HUMAN


def record(kind: str, username: str, address: str) -> None:
    """Count what happened at the sign-in page (SignInRecord.Kind). Of a name that nobody has, only that it happened.

    One statement, and the same one, whether the name exists or not: the time that it takes tells nothing.
    """
    statement = "select record_sign_in(%s, (select id from actor where username = %s and kind = 'human'), %s)"
    run(statement, [kind, username, address])
