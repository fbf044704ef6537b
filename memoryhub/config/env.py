"""The environment, typed. The one place that reads it.

Where DATABASE_URL is not set, the values that `make run` wrote for its embedded servers are used
(`<data>/runtime.env`), so that `manage.py` in a second terminal meets the same system.
"""

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MEMORYHUB_DATA") or ROOT / ".data").resolve()


def _load_runtime_file() -> None:
    path = DATA / "runtime.env"
    if os.environ.get("DATABASE_URL") or not path.is_file():
        return
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())


_load_runtime_file()


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
    value = text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def number(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within [low, high]."""
    value = text(name, str(default))
    if not value.isdecimal() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


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
        # Connections are kept for the life of a thread: reconnecting per request halves everything.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        # The hot paths prepare their statements (core.sql); Django's own cursors bind on the client and never do.
        "OPTIONS": {"connect_timeout": 5, "application_name": "memoryhub", "prepare_threshold": 5},
    }


def master_keys() -> dict[str, bytes]:
    """The master keys by id, the current one first: `MASTER_KEY`, or the file `MASTER_KEY_FILE`.

    Both hold `base64` or `id:base64` entries, separated by commas or lines; a key is 32 bytes.
    """
    raw = os.environ.get("MASTER_KEY", "").strip()
    if not raw:
        path = Path(text("MASTER_KEY_FILE", str(DATA / "master.key")))
        if not path.is_file():
            raise ImproperlyConfigured("Set MASTER_KEY or MASTER_KEY_FILE: confidential memory cannot be kept without.")
        raw = path.read_text()
    keys: dict[str, bytes] = {}
    for entry in raw.replace(",", "\n").split():
        name, _, encoded = entry.rpartition(":")
        key = base64.b64decode(encoded, validate=True)
        if len(key) != 32:
            raise ImproperlyConfigured("A master key must be 32 bytes, in base64.")
        keys[name or "1"] = key
    if not keys:
        raise ImproperlyConfigured("MASTER_KEY holds no key.")
    return keys
