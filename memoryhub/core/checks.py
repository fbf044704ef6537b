"""System checks: what would make the installation unsafe stops the start with a sentence."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection


@register(Tags.database)
def check_serving_role(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """The login that serves must be one that row-level security binds, on a server that can flush on request."""
    if "default" not in (databases or []):
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "select r.rolsuper, r.rolbypassrls,"
                " exists (select from pg_class c where c.relnamespace = 'public'::regnamespace"
                "         and c.relkind = 'r' and pg_has_role(r.oid, c.relowner, 'MEMBER')),"
                " current_setting('server_version_num')::int"
                " from pg_roles r where r.rolname = current_user"
            )
            superuser, bypasses, owner, version = cursor.fetchone()
    except OperationalError as error:
        return [Error(f"The database cannot be reached: {error}", id="memoryhub.E001")]
    found: list[CheckMessage] = []
    hint = "Serve as a role of its own; docs/operations.md has the SQL."
    if superuser or bypasses:
        found.append(
            Error("DATABASE_URL is a superuser or bypasses row-level security.", hint=hint, id="memoryhub.E002")
        )
    if owner:
        found.append(
            Error("DATABASE_URL owns the tables, so row-level security is off.", hint=hint, id="memoryhub.E003")
        )
    if version < 170000:
        found.append(Error("PostgreSQL 17 or newer is needed (ADR 1).", id="memoryhub.E004"))
    return found


def refuse_unsafe_login() -> None:
    """For what serves, when it starts. Raises ImproperlyConfigured with the sentence of what makes the login unsafe.

    A database that cannot be reached is no reason: it may come back, and nothing is served from it until then.
    """
    unsafe = [found for found in check_serving_role(databases=["default"]) if found.id != "memoryhub.E001"]
    connection.close()
    if unsafe:
        raise ImproperlyConfigured(" ".join(f"{found.msg} {found.hint or ''}".strip() for found in unsafe))


@register(Tags.security)
def check_secrets(**_: Any) -> list[CheckMessage]:
    """Keys of a fitting length, and no debug mode beside public hosts."""
    found: list[CheckMessage] = []
    if len(settings.SECRET_KEY) < 40:
        found.append(Error("SECRET_KEY is shorter than 40 characters.", id="memoryhub.E010"))
    if settings.DEBUG and set(settings.ALLOWED_HOSTS) - {"localhost", "127.0.0.1", "[::1]", "testserver"}:
        found.append(Error("DEBUG=1 with public ALLOWED_HOSTS shows internals to strangers.", id="memoryhub.E011"))
    return found
