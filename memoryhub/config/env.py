"""The environment, typed. The one place where the settings read it.

Where DATABASE_URL is not set, the values that `make run` wrote for its embedded servers are used
(`<data>/runtime.env`), so that `manage.py` in a second terminal uses the same system. The owner's login is in a file of
its own (`<data>/owner.env`), which commands read and serving processes do not.
"""

import base64
import binascii
import os
import sys
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from memoryhub.run.flags import MIN_SECRET, OWNER_URL, data_folder, read_file, read_flag

DATA = data_folder()

_uses_own_servers = not os.environ.get("DATABASE_URL")
_allows_owner = False


if _uses_own_servers:
    for _name, _value in read_file(DATA / "runtime.env").items():
        if _name != OWNER_URL:  # where versions before 0010 kept it
            os.environ.setdefault(_name, _value)


def allow_owner() -> None:
    """Allow a command the owner's login; call it before the settings are read. Serving processes never do."""
    global _allows_owner
    _allows_owner = True


def owner_databases() -> dict[str, dict[str, Any]]:
    """The database `owner`, for commands: from the variable, or from the file of `make run` for its own servers."""
    if not _allows_owner:
        return {}
    if not os.environ.get(OWNER_URL, "").strip() and _uses_own_servers:
        found = read_file(DATA / "owner.env") or read_file(DATA / "runtime.env")
        os.environ[OWNER_URL] = found.get(OWNER_URL, "")
    return {"owner": database(OWNER_URL) | {"CONN_MAX_AGE": 0}} if text(OWNER_URL, "") else {}


def drop_owner() -> None:
    """For serving processes, at their start: remove the owner's login from the environment, and report that."""
    if os.environ.pop(OWNER_URL, "").strip():
        print(
            f"{OWNER_URL} is not for processes that serve, and is ignored: remove it from their environment.",
            file=sys.stderr,
        )


def text(name: str, default: str | None = None) -> str:
    """The variable's text. Raises ImproperlyConfigured when it is missing and has no default."""
    value = os.environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise ImproperlyConfigured(
            f"{name} is not set. `make run` sets it by itself; for your own servers see .env.example."
        )
    return default


def flag(name: str, default: bool) -> bool:
    """1/true/yes/on or 0/false/no/off."""
    try:
        return read_flag(name, default)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None


def secret(name: str) -> str:
    """A secret of at least 40 characters."""
    value = text(name)
    if len(value) < MIN_SECRET:
        raise ImproperlyConfigured(f"{name} must have at least {MIN_SECRET} characters.")
    return value


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """One of these words."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def number(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within [low, high]."""
    value = text(name, str(default))
    if not value.isdecimal() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def core(name: str) -> int | None:
    """The number of a core that this process may use; None when it is not set, or the system has no CPU affinity."""
    value = os.environ.get(name, "").strip()
    if not value or not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    if not value.isdecimal() or int(value) not in usable:
        raise ImproperlyConfigured(f"{name} must be a core from {usable[0]} to {usable[-1]}, not {value!r}.")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """A comma-separated list of addresses and networks (`10.0.0.7`, `10.0.0.0/8`, `fd00::/8`); none by default."""
    try:
        return tuple(ip_network(word) for word in words(name))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a list of addresses or networks: {error}.") from None


# A dead server (its machine or the network is gone) is detected after 10 s; TCP's defaults are minutes for what is
# unacknowledged, and two hours for an idle connection. libpq's parameters, in seconds; the last in milliseconds.
_GONE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}


def database(name: str) -> dict[str, Any]:
    """Django's settings for a `postgresql://user:password@host:port/name` URL."""
    url = urlsplit(text(name))
    if url.scheme not in {"postgresql", "postgres"} or not url.username or not url.path.strip("/"):
        raise ImproperlyConfigured(f"{name} must look like postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(url.hostname or ""),
        "PORT": str(url.port or 5432),
        # Connections are kept for the life of a thread: reconnecting per request halves the throughput.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        # The hot paths prepare statements (core.db.statements); Django's own cursors bind on the client and never do.
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": os.environ.get("PGAPPNAME", "memoryhub"),
            "prepare_threshold": 5,
            **_GONE,
        },
    }


def session_options(statement: int, lock: int, idle: int) -> str:
    """The session parameters of the app role's connections, as libpq's `options`; times in seconds.

    Only `settle` waits for a synchronous standby (ADR 11). No plan scans a growing table sequentially, nor reads all of
    a team's rows to find the newest, whatever the table's statistics were when the plan was made (ADR 11).
    """
    wanted = {
        "statement_timeout": f"{statement}s",
        "lock_timeout": f"{lock}s",
        "idle_in_transaction_session_timeout": f"{idle}s",
        "synchronous_commit": "local",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",  # except in search's functions
        "jit": "off",  # PostgreSQL 17 would compile each plan that cannot avoid a sequential scan
    }
    return " ".join(f"-c {name}={value}" for name, value in wanted.items())


def embeddings() -> tuple[str, str, str]:
    """`EMBEDDINGS_URL`, `EMBEDDINGS_KEY` and `EMBEDDINGS_MODEL`: of an endpoint that makes vectors of texts, for search
    by meaning, by OpenAI's protocol. Without a URL there is none.
    """
    address, key, model = (text(f"EMBEDDINGS_{name}", "") for name in ("URL", "KEY", "MODEL"))
    if not address:
        if key or model:
            raise ImproperlyConfigured("EMBEDDINGS_KEY and EMBEDDINGS_MODEL have no effect without EMBEDDINGS_URL.")
        return "", "", ""
    try:
        url = urlsplit(address)
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_address = False
    if not is_address or url.username is not None or url.query or url.fragment:
        raise ImproperlyConfigured(
            "EMBEDDINGS_URL must look like https://host/v1, without a user name, a password or a query."
        )
    if not model:
        raise ImproperlyConfigured("EMBEDDINGS_URL needs EMBEDDINGS_MODEL: the model that the endpoint is to use.")
    if not (key.isascii() and key.isprintable()):
        raise ImproperlyConfigured("EMBEDDINGS_KEY must have printable ASCII characters only.")
    return address, key, model


def master_keys() -> dict[str, bytes]:
    """The master keys by id, the current one first: `MASTER_KEY`, or the file `MASTER_KEY_FILE`.

    Both hold `base64` or `id:base64` entries, separated by commas or lines; a key is 32 bytes.
    """
    raw = os.environ.get("MASTER_KEY", "").strip()
    if not raw:
        path = Path(text("MASTER_KEY_FILE", str(DATA / "master.key")))
        if not path.is_file():
            raise ImproperlyConfigured("Set MASTER_KEY or MASTER_KEY_FILE: confidential memory needs a master key.")
        raw = path.read_text()
    keys: dict[str, bytes] = {}
    for entry in raw.replace(",", "\n").split():
        name, _, encoded = entry.rpartition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 32:
            raise ImproperlyConfigured("MASTER_KEY: a master key must be 32 bytes, in base64.")
        keys[name or "1"] = key
    if not keys:
        raise ImproperlyConfigured("MASTER_KEY holds no key.")
    return keys
