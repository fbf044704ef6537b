"""Keeps a few processes running in one terminal: prefixes their output with their names, and restarts them."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import psutil

from memoryhub.run import processes

# Backoff, in seconds, before a process that ended is restarted, doubled each time: once the cause is gone, a part is
# back within ten seconds, whatever happened before.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0
STEADY_SECONDS = 30.0  # a process that lived so long has recovered


class Child:
    """One process to keep running."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name, self.command, self.environment, self.folder = name, command, environment, folder
        self.process: subprocess.Popen[str] | None = None
        self.failures = 0
        self.begun = 0.0
        self.due = 0.0  # when it may be restarted, by the monotonic clock

    def start(self) -> None:
        """Start it, in a session of its own, so that the terminal's Ctrl-C reaches only the launcher."""
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        assert self.process.stdout is not None
        threading.Thread(target=_relay, args=(self.name, self.process.stdout), daemon=True).start()


def _relay(name: str, lines: IO[str]) -> None:
    """Print a process's output. When our terminal is gone, go on reading: a full pipe would block the process."""
    for line in lines:
        say(f"{name:<7}| {line.rstrip()}")


def say(line: str) -> None:
    """Print a line in one write, and never fail without a terminal."""
    try:
        print(line + "\n", end="", flush=True)
    except OSError:
        return


class Supervisor:
    """Starts, watches and ends processes that share an environment and a working directory."""

    def __init__(self, commands: Mapping[str, list[str]], environment: Mapping[str, str], folder: Path) -> None:
        self.children = [Child(name, command, environment, folder) for name, command in commands.items()]

    def watch(self) -> None:
        """Start what is not running and may be started now. Call it about every second."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and (code := child.process.poll()) is not None:
                child.process = None
                was_killed = code in (-signal.SIGKILL, -signal.SIGTERM)  # from outside: no fault of its own
                child.failures = 1 if was_killed or now - child.begun > STEADY_SECONDS else child.failures + 1
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (child.failures - 1))
                child.due = now + pause
                say(f"{child.name:<7}| ended ({_reason(code)}); restarting in {pause:g} s")
            if child.process is None and now >= child.due:
                child.start()

    def wait_for(self, child_name: str, ready: Callable[[], bool], *, seconds: float, tries: int = 3) -> bool:
        """Watch until `ready`; False when the time is over or that child has ended `tries` times."""
        child = next(child for child in self.children if child.name == child_name)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and child.failures < tries:
            self.watch()
            if ready():
                return True
            time.sleep(0.1)
        return False

    def stop(self) -> None:
        """Terminate all of them; kill what is left after 4 s."""
        running = [child.process for child in self.children if child.process is not None]
        processes.end([psutil.Process(process.pid) for process in running if process.poll() is None], seconds=4)
        for process in running:
            process.wait()


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
