"""Guessing passwords is slow: failed attempts are counted by name, by address and by both, and the next one waits.

An attempt is counted before its password is hashed and taken back when it was right, so that attempts made at the
same moment, by whatever process, do not all pass before the first one has failed. Times are the database's. A browser
that its person has signed in with before has a count of its own instead: what strangers do delays it nowhere.
"""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils.crypto import salted_hmac

from memoryhub.core.db.statements import run
from memoryhub.core.errors import RateLimited

# One row, at one moment: the count goes up, and the next attempt waits 1, 2, 4 … seconds, once some were free; or
# nothing is changed, because somebody has to wait. clock_timestamp(): it may have waited for the row's lock.
_COUNT = """
insert into signin_delay as d (key, failures, free_at, seen_at)
values (%(key)s, 1, clock_timestamp() + make_interval(secs => {first}), clock_timestamp())
on conflict (key) do update set
  failures = case when {forgotten} then 1 else d.failures + 1 end,
  free_at = clock_timestamp() + make_interval(secs => case when {forgotten} then {first} else {next} end),
  seen_at = clock_timestamp()
where d.free_at <= clock_timestamp()
returning free_at
""".format(
    first="case when %(free)s >= 1 then 0 else 1 end",
    next="case when d.failures < %(free)s then 0 else least(%(longest)s, 2 ^ least(d.failures - %(free)s, 20)) end",
    forgotten="d.seen_at < clock_timestamp() - make_interval(mins => %(forget)s)",
)
_WAIT = "select max(extract(epoch from free_at - clock_timestamp())) from signin_delay where key = any (%s)"
_TAKE_BACK = """
update signin_delay set failures = greatest(failures - 1, 0),
       free_at = case when free_at = %s then clock_timestamp() else free_at end
where key = %s
"""
# The longest unseen beyond the bound. Each attempt makes three rows at most, and removes up to ten.
_BOUND = """
delete from signin_delay where key in (
  select key from signin_delay order by seen_at desc offset %s limit 10 for update skip locked)
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was counted and may be made now. `counted`: the keys, and until when each waits for it."""

    counted: tuple[tuple[str, datetime], ...]
    own: str  # the count that ends with a success: this name's from this address, or this browser's

    def succeed(self) -> None:
        """The password was right: this attempt counts nowhere. What others did to the name goes on counting."""
        with _brief() as cursor:
            for key, free_at in self.counted:
                cursor.execute(_TAKE_BACK, [free_at, key])
            cursor.execute("delete from signin_delay where key = %s", [self.own])


def begin(name: str, address: str, *, browser: str | None = None) -> Attempt:
    """Count an attempt to sign in, before its password is looked at.

    `name`: as typed; `address`: what counts as one; `browser`: the id of one that this person has signed in with.
    Raises RateLimited, which tells whole seconds and nothing of whether the name exists.
    """
    name = unicodedata.normalize("NFKC", name).casefold()
    if browser is not None:
        keys = [(_key("browser", browser), settings.SIGNIN_FREE_BY_BOTH)]
    else:
        # Always in this order, so that no two wait for each other.
        keys = [
            (_key("address", address), settings.SIGNIN_FREE_BY_ADDRESS),
            (_key("name", name), settings.SIGNIN_FREE_BY_NAME),
            (_key("both", address, name), settings.SIGNIN_FREE_BY_BOTH),
        ]
    with _brief() as cursor:
        cursor.execute(_BOUND, [settings.SIGNIN_ROWS])
    counted = _count(keys)
    if counted is None:
        ((seconds,),) = run(_WAIT, [[key for key, _ in keys]])
        wait = max(1, ceil(seconds or 0))
        unit = "second" if wait == 1 else "seconds"
        raise RateLimited(f"Too many attempts to sign in. Try again in {wait} {unit}.", retry_after=wait)
    return Attempt(counted, own=keys[-1][0])


@contextmanager
def _brief() -> Iterator[CursorWrapper]:
    """A transaction that waits for no disk and no standby: what a crash may lose of it is a count."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set local synchronous_commit = off")
        yield cursor


def _count(keys: list[tuple[str, int]]) -> tuple[tuple[str, datetime], ...] | None:
    """Count it everywhere, or, when one of them has to wait, nowhere."""
    counted: list[tuple[str, datetime]] = []
    times = {"longest": settings.SIGNIN_LONGEST_DELAY, "forget": settings.SIGNIN_FORGET_MINUTES}
    with _brief() as cursor:
        for key, free in keys:
            cursor.execute(_COUNT, {"key": key, "free": free, **times})
            row = cursor.fetchone()
            if row is None:
                transaction.set_rollback(True)
                return None
            counted.append((key, row[0]))
    return tuple(counted)


def prune() -> None:
    """Forget who has not tried for a while, and the oldest records."""
    with _brief() as cursor:
        cursor.execute(
            "delete from signin_delay where free_at < statement_timestamp()"
            " and seen_at < statement_timestamp() - make_interval(mins => %s)",
            [settings.SIGNIN_FORGET_MINUTES],
        )
        cursor.execute("select prune_sign_ins(%s)", [settings.SIGNIN_RECORD_DAYS])


def _key(kind: str, *values: str) -> str:
    # With lengths, so that no two lists of values are written alike.
    joined = "".join(f"{len(value)}:{value}" for value in (kind, *values))
    return salted_hmac("memoryhub.signin", joined, algorithm="sha256").hexdigest()
