"""Our processes: reliably identified, and stopped. No Django here.

A process that we start carries `MARK=<data directory>` in its environment, so that the next start after a crash finds
it and its descendants. The two servers are identified by their working directory instead, because PostgreSQL writes its
title over its environment.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import psutil

MARK = "MEMORYHUB_LAUNCHER"


class Busy(Exception):
    """Another live process holds the lock; the text says which."""


def hold(path: Path) -> TextIO:
    """Lock the file at `path` until the returned file is closed; the kernel releases it when the process dies.

    Raises Busy with the holder's process id when another process has it.
    """
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Busy(f"{path.parent} is in use by another memoryhub (process {holder}).") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def marked(data: Path) -> list[psutil.Process]:
    """Every live process that was started for this data directory, or descends from one that was."""
    return _find(lambda process: process.pid != os.getpid() and process.environ().get(MARK) == str(data))


def working_in(folder: Path, name: str) -> list[psutil.Process]:
    """Every live process of this program name whose working directory is exactly `folder`, parents first."""
    found = _find(lambda process: process.name() == name and Path(process.cwd()) == folder)
    return sorted(found, key=lambda process: process.create_time())


def _find(is_wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone meanwhile, or another user's, which we never start
            if is_wanted(process):
                found.append(process)
    return found


def heads(found: list[psutil.Process]) -> list[psutil.Process]:
    """Those of the processes whose parent is not among them."""
    pids = {process.pid for process in found}
    return [process for process in found if _parent(process) not in pids]


def end(found: Iterable[psutil.Process], how: signal.Signals = signal.SIGTERM, *, seconds: float = 5.0) -> None:
    """Send the signal to each, wait at most `seconds` for all, and kill what is left."""
    processes = list(found)
    for process in processes:
        _send(process, how)
    for process in _await(processes, seconds):
        _send(process, signal.SIGKILL)
    _await(processes, 2)


def _send(process: psutil.Process, how: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(how)  # psutil checks that the process id has not passed to another process


def _await(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still live when the time is over."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _lives(process: psutil.Process) -> bool:
    """Not gone, and not a zombie either: in a container often nothing reaps the orphans."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0
