"""System checks: what would make the installation unsafe stops the start with a sentence."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError, connection

from memoryhub.core import mark, sealing


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


@register(Tags.database)
def check_master_keys(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """MASTER_KEY opens what the teams' data keys were wrapped by; with another one nothing confidential can be read."""
    if "default" not in (databases or []):
        return []
    try:
        lost = sealing.find_lost_master_keys()
    except (OperationalError, ProgrammingError):
        return []  # away, which check_serving_role says, or not yet migrated
    if not lost:
        return []
    words = (
        f"MASTER_KEY does not open what the master key {', '.join(lost)} has wrapped: confidential memory is closed."
    )
    hint = "Put the right key back; a rotated one keeps its old keys behind it (docs/operations.md)."
    return [Error(words, hint=hint, id="memoryhub.E005")]


@register(Tags.database)
def check_ledgers(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """The ledgers give no number twice: they are not older than their mark, and a dump has begun a life (ADR 10)."""
    if "default" not in (databases or []):
        return []
    try:
        if mark.is_behind():
            hint = (
                "If that is meant, run `manage.py new_life`, which tells clients so; else put the right database back."
            )
            words = f"The database lacks what {mark.FILE} has noted: its files were put back from an older copy."
            return [Error(words, hint=hint, id="memoryhub.E006")]
        if any(head.is_moved for head in mark.read_heads()):
            hint = "Run `python -m memoryhub.config.prepare --empty` (docs/operations.md, backup and restore)."
            return [Error("The database came here by a dump, and was not prepared.", hint=hint, id="memoryhub.E007")]
    except (OperationalError, ProgrammingError):
        pass  # away, which check_serving_role says, or not yet migrated
    return []


def refuse_unsafe_start() -> None:
    """For what serves, when it starts. Raises ImproperlyConfigured with the sentence of what is unsafe.

    A database that cannot be reached is no reason: it may come back, and nothing is served from it until then.
    """
    checks = (check_serving_role, check_master_keys, check_ledgers)
    all_found = [found for check in checks for found in check(databases=["default"])]
    unsafe = [found for found in all_found if found.id != "memoryhub.E001"]
    connection.close()
    if unsafe:
        raise ImproperlyConfigured(" ".join(f"{found.msg} {found.hint or ''}".strip() for found in unsafe))


@register(Tags.security)
def check_debug(**_: Any) -> list[CheckMessage]:
    """No debug mode beside public hosts."""
    found: list[CheckMessage] = []
    if settings.DEBUG and set(settings.ALLOWED_HOSTS) - {"localhost", "127.0.0.1", "[::1]", "testserver"}:
        found.append(Error("DEBUG=1 with public ALLOWED_HOSTS shows internals to strangers.", id="memoryhub.E011"))
    return found
