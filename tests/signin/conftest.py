"""Imported before Django is set up, so the fixtures import what they need when they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest


@pytest.fixture(autouse=True)
def _nobody_waits(owner_sql: psycopg.Connection[Any]) -> Iterator[None]:
    """Before and after each test: all sign in from one address, whose failures another test would wait for."""
    owner_sql.execute("delete from signin_delay")
    yield
    owner_sql.execute("delete from signin_delay")


@pytest.fixture
def quick_hashes(settings: Any) -> None:
    """New and unknown names' passwords are hashed fast: these tests make hundreds of attempts."""
    from tests.support.factories import _hash

    _hash()  # which all tests share, by the product's own hasher
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
