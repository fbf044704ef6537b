"""System checks: what would make the installation unsafe stops the start with a sentence."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError, connection
from django.db.models import Q

from memoryhub.core.access.delegation import installers
from memoryhub.core.ledger import mark
from memoryhub.core.models import Actor, ActorKind, PasswordOrigin
from memoryhub.core.secrecy import sealing

_checks: list[Callable[..., list[CheckMessage]]] = []


def _of_database(check: Callable[[], list[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Register a check of what the database holds; one that is away, or not yet migrated, passes it."""

    @register(Tags.database)
    def run(databases: Any = None, **_: Any) -> list[CheckMessage]:
        try:
            return check() if "default" in (databases or []) else []
        except (OperationalError, ProgrammingError):
            return []

    _checks.append(run)
    return run


@_of_database
def check_serving_role() -> list[CheckMessage]:
    """The login that serves must be one that row-level security binds, on a server that can flush on request."""
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
    except ProgrammingError as error:  # not for want of a migration: it reads the catalogs
        return [Error(f"The role of DATABASE_URL cannot be checked: {error}", id="memoryhub.E009")]
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


@_of_database
def check_master_keys() -> list[CheckMessage]:
    """MASTER_KEY opens what the teams' data keys were wrapped by; with another one nothing confidential can be read."""
    lost = sealing.find_lost_master_keys()
    if not lost:
        return []
    words = (
        f"MASTER_KEY does not open what the master key {', '.join(lost)} has wrapped: confidential memory is closed."
    )
    hint = "Put the right key back; a rotated one keeps its old keys behind it (docs/operations.md)."
    return [Error(words, hint=hint, id="memoryhub.E005")]


@_of_database
def check_ledgers() -> list[CheckMessage]:
    """The ledgers give no number twice: they are not older than their mark, and a dump has begun a life (ADR 10)."""
    if mark.is_behind():
        hint = "If that is meant, run `manage.py new_life`, which tells clients so; else put the right database back."
        words = f"The database lacks what {mark.FILE} has noted: its files were put back from an older copy."
        return [Error(words, hint=hint, id="memoryhub.E006")]
    if any(head.is_moved for head in mark.read_heads()):
        hint = "Run `python -m memoryhub.config.prepare --empty` (docs/operations.md, backup and restore)."
        return [Error("The database came here by a dump, and was not prepared.", hint=hint, id="memoryhub.E007")]
    return []


@_of_database
def check_first_passwords() -> list[CheckMessage]:
    """With HTTPS=1, nobody still has the password that first_run made and wrote into a file; the demo's people may."""
    if not settings.HTTPS:
        return []
    people = Actor.objects.filter(
        Q(is_demo=False) | Q(id__in=installers().values("actor_id")),
        kind=ActorKind.HUMAN,
        is_active=True,
        password_origin=PasswordOrigin.GENERATED,
    )
    names = ", ".join(people.order_by("username").values_list("username", flat=True)[:10])
    if not names:
        return []
    words = f"HTTPS=1, and the password that was made for {names} at the first start is unchanged."
    first = names.split(",")[0]
    hint = f"Sign in without HTTPS=1 and change it, or, while the database runs: manage.py set_password {first}."
    return [Error(words, hint=hint, id="memoryhub.E008")]


def refuse_unsafe_start() -> None:
    """For what serves, when it starts. Raises ImproperlyConfigured with the sentence of what is unsafe.

    A database that cannot be reached is no reason: it may come back, and nothing is served from it until then.
    """
    all_found = [found for check in _checks for found in check(databases=["default"])]
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
