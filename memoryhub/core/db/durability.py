"""What is answered is durable (ADR 11): how long we wait for it, and what happens when a synchronous standby is away.

The wait itself is the database's (`settle` and its kin). PostgreSQL never gives it up, whatever its timeouts say; when
it is cancelled, the transaction stays and a WARNING (01000) tells that nobody knows whether a standby has it. So a
watch cancels what waits too long, and after one such unknown outcome whoever must wait is refused at once, until a
probe that waits all the time has got through.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.db import connection
from prometheus_client import Counter

from memoryhub.core.db import clock, statements
from memoryhub.core.errors import Unconfirmed

log = structlog.get_logger(__name__)

READ_SECONDS = 0.6  # a reader's patience: reads are answered within a second
LOOK_SECONDS = 0.1
AGAIN_SECONDS = 0.5  # after the database itself was away
SUSPECT_SECONDS = 0.3  # a healthy standby answers in less

_LOST = Counter("memoryhub_unconfirmed_total", "Waits for a synchronous standby that were given up.")
# All waits of this login for a standby, of other processes too, since a process may have died while it waited. A
# reader's patience runs from the oldest of them, so that one who comes later does not wait as long again.
_CANCEL = """
select case when (case when is_read then oldest else seconds end) > patience then pg_cancel_backend(pid) end from (
    select pid, is_read, seconds, max(seconds) over () as oldest,
           case when is_read then %(read)s::float8 else %(write)s::float8 end as patience
    from (
        select pid, query ~ 'settle_(read|head)' as is_read,
               extract(epoch from clock_timestamp() - xact_start) as seconds
        from pg_stat_activity
        where usename = current_user and datname = current_database() and wait_event = 'SyncRep'
    ) waiting
) known where oldest > %(suspect)s::float8
"""
_HEAD = "select settle_head(%s::int, %s::bigint)"


class _State:
    """What this process knows of its standbys."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.places = threading.BoundedSemaphore(settings.SETTLE_WAITERS)
        self.has_standbys = True  # until the watch has looked
        self.is_refusing = False  # writes are refused at once
        self.since: datetime | None = None  # of the first wait whose outcome is unknown; None: all is well
        self.is_stuck = False  # somebody waits for a standby for longer than a healthy one takes
        self.heads: dict[int, int] = {}  # of each team, the last `seq` that is known to be durable
        self.watch: threading.Thread | None = None
        self.probe: threading.Thread | None = None


_state = _State()


@contextmanager
def waiting() -> Iterator[None]:
    """Around the wait of a write, from before its COMMIT is sent.

    Raises Unconfirmed: at once, with nothing done, while a standby is known to be away, or SETTLE_WAITERS of this
    process wait for one already; and when the wait was given up.
    """
    has_place = _enter()
    try:
        with _watched(is_write=True):
            yield
    finally:
        if has_place:
            _state.places.release()


def _enter() -> bool:
    """Whether a place was taken, which is needed only where there are standbys."""
    deadline = time.monotonic() + settings.SETTLE_SECONDS
    while True:
        if _state.is_refusing:
            raise Unconfirmed()
        if not _state.has_standbys:
            return False
        # At once while somebody is stuck: a thread that waited here would be one less for reads of the same caller.
        if _state.places.acquire(timeout=0 if _state.is_stuck else LOOK_SECONDS):
            return True
        if _state.is_stuck or time.monotonic() > deadline:
            raise Unconfirmed()


@contextmanager
def reading() -> Iterator[None]:
    """Around the wait of a read. Raises Unconfirmed, at once while a standby is known to be away."""
    if _state.since is not None:
        raise Unconfirmed()
    with _watched(is_write=False):
        yield


@contextmanager
def _watched(*, is_write: bool) -> Iterator[None]:
    if _state.watch is None:
        _start_watch()
    try:
        yield
    except Unconfirmed:
        _lose(is_write=is_write)
        raise


def head(team: int) -> int:
    """The last `seq` of a team's ledger up to which everything is durable; its own trip, outside a transaction.

    While a standby is away it is the last that this process knows of. Raises Unconfirmed where it knows of none.
    """
    known = _state.heads.get(team)
    try:
        with reading():
            ((found,),) = statements.run(_HEAD, [team, known])
    except Unconfirmed:
        if known is None:
            raise
        return known
    _state.heads[team] = found
    return int(found)


def standbys() -> str | None:
    """`ok`, or `away since …`, by a wait of a reader's patience; None where PostgreSQL has no synchronous standbys."""
    ((has_any,),) = statements.run(
        "select current_setting('synchronous_standby_names') <> '' and not pg_is_in_recovery()"
    )
    if not has_any:
        return None
    try:
        with reading():
            statements.run("select settle_read()")
    except Unconfirmed:
        since = _state.since or datetime.now(UTC)
        return f"away since {since:%Y-%m-%dT%H:%M:%SZ}"
    return "ok"


def has(team: int, seq: int) -> bool:
    """Whether this process knows that the team's ledger is durable up to `seq`."""
    return seq <= _state.heads.get(team, -1)


def reach(team: int, seq: int) -> None:
    """The team's ledger is durable up to `seq`."""
    _state.heads[team] = max(seq, _state.heads.get(team, 0))


def _lose(*, is_write: bool) -> None:
    """Somebody's wait was given up."""
    _LOST.inc()
    with _state.lock:
        if _state.since is None:
            _state.since = datetime.now(UTC)
            log.error("standby_away", reading=not is_write)
        _state.is_refusing = _state.is_refusing or is_write
        if _state.probe is None:
            _state.probe = threading.Thread(target=_probe, name="settle-probe", daemon=True)
            _state.probe.start()


def _probe() -> None:
    """Wait for the standby for as long as it takes; a wait that the watch gives up is begun again."""
    while True:
        try:
            statements.run("select settle(null::uuid)")
            break
        except Unconfirmed:
            continue
        except Exception as error:  # the database itself is away; without this thread writes would be refused for good
            log.warning("settle_probe_failed", error=type(error).__name__)
            _pause()
    connection.close()
    with _state.lock:
        _state.since, _state.is_refusing, _state.is_stuck, _state.probe = None, False, False, None
    log.warning("standby_back")


def _pause() -> None:
    """Before another try, on another connection."""
    with suppress(Exception):
        connection.close()
    time.sleep(AGAIN_SECONDS)


_STATE = """
select current_setting('synchronous_standby_names') <> '', extract(epoch from clock_timestamp())::float8
"""


def _start_watch() -> None:
    with _state.lock:
        if _state.watch is None:
            _state.watch = threading.Thread(target=_watch, name="settle-watch", daemon=True)
            _state.watch.start()


def _watch() -> None:
    """See whether there are standbys, and the clock, and cancel the waits for standbys that last too long."""
    patience = {"write": settings.SETTLE_SECONDS, "read": READ_SECONDS, "suspect": SUSPECT_SECONDS}
    looked = 0.0
    while True:
        time.sleep(LOOK_SECONDS)
        now, oldest = time.monotonic(), min(tuple(statements.IN_FLIGHT.values()), default=None)
        is_late = oldest is not None and now - oldest > SUSPECT_SECONDS
        try:
            if now - looked > 1:
                ((_state.has_standbys, seconds),) = statements.run(_STATE)
                clock.see(seconds)
                looked = now
            _state.is_stuck = is_late and bool(statements.run(_CANCEL, patience))
        except Exception as error:  # without this thread waits would never end
            log.warning("settle_watch_failed", error=type(error).__name__)
            _pause()
