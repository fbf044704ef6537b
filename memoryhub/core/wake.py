"""Wake-ups after commit: the doorbell for the web processes, and Celery for due work. Carries ids only.

One daemon thread a process sends them, so that no request waits for Valkey and bells that pile up become one.
Losing a wake-up loses nothing: readers poll slowly, and the sweeper finds what was not woken.
"""

import asyncio
import os
import threading
import time
from uuid import UUID

import structlog
from celery import current_app
from channels.layers import get_channel_layer

log = structlog.get_logger(__name__)

WORK = "memoryhub.core.tasks.work"  # the Celery task that does outbox rows by id
GATHER_SECONDS = 0.05  # after each sending: what is rung meanwhile becomes one bell
BELL = "bell"  # the channel layer group that every web process listens to

_condition = threading.Condition()
_bells: dict[int, int] = {}
_jobs: list[str] = []
_sending = threading.Event()
_thread: threading.Thread | None = None
_pid_of_thread = 0


def ring(team: int, seq: int) -> None:
    """Tell every web process that the team's ledger has reached `seq`."""
    with _condition:
        _bells[team] = max(seq, _bells.get(team, 0))
        _start()
        _condition.notify()


def work(jobs: list[UUID]) -> None:
    """Tell Celery that these outbox rows are due."""
    if not jobs:
        return
    with _condition:
        _jobs.extend(str(job) for job in jobs)
        _start()
        _condition.notify()


def flush(seconds: float = 2.0) -> None:
    """Wait until what was rung is sent, at most so long; for short-lived commands before they end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with _condition:
            if not _bells and not _jobs and not _sending.is_set():
                return
        time.sleep(0.005)


def _start() -> None:
    """Start the thread when there is none, also after a fork."""
    global _thread, _pid_of_thread
    if _thread is None or not _thread.is_alive() or _pid_of_thread != os.getpid():
        _thread = threading.Thread(target=_run, name="wake", daemon=True)
        _pid_of_thread = os.getpid()
        _thread.start()


def _run() -> None:
    # A loop of its own that only runs while something is sent: nothing here may keep the process from ending.
    loop = asyncio.new_event_loop()
    while True:
        bells, jobs = _take()
        try:
            if bells:
                loop.run_until_complete(_ring(bells))
            if jobs:
                # By name: the task's module imports the outbox, which imports the transactions that ring here.
                current_app.send_task(WORK, args=(jobs,), retry=False, expires=300, ignore_result=True)
        except Exception as error:
            log.warning("wake_up_lost", error=type(error).__name__, bells=len(bells), jobs=len(jobs))
        finally:
            _sending.clear()
        time.sleep(GATHER_SECONDS)


async def _ring(bells: dict[int, int]) -> None:
    message = {"type": "bell", "reached": list(bells.items())}
    await asyncio.wait_for(get_channel_layer().group_send(BELL, message), timeout=2)


def _take() -> tuple[dict[int, int], list[str]]:
    with _condition:
        while not _bells and not _jobs:
            _condition.wait()
        _sending.set()
        bells, jobs = dict(_bells), list(_jobs)
        _bells.clear()
        _jobs.clear()
    return bells, jobs
