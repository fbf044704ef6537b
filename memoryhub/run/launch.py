"""The launcher behind `make run`: servers, database, static files, first people, then all parts in one terminal.

`python -m memoryhub.run.launch`. Ctrl-C or SIGTERM stops everything that it started, the embedded servers last.
A part that dies is restarted. No Django in this process: it lives as long as the system does and stays small.
"""

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from memoryhub.run import embedded, processes
from memoryhub.run.flags import MIN_SECRET, OWNER_URL, ROOT, data_folder, read_file, wants_demo
from memoryhub.run.server_home import CannotStart
from memoryhub.run.steps import step
from memoryhub.run.supervisor import Supervisor, say

READY_SECONDS = 60.0
URLS = ("DATABASE_URL", OWNER_URL, "REDIS_URL")
KEPT = ("SECRET_KEY", "METRICS_TOKEN")


class StartRefused(Exception):
    """The start is refused; the text is a sentence for the person at the terminal."""


def web_command(port: int) -> list[str]:
    """The web process: sockets, long polls and all other HTTP on one port of the loopback."""
    return [
        *(sys.executable, "-m", "uvicorn", "memoryhub.config.asgi:application"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--http", "memoryhub.interface.server.protocol:Wire"),
        *("--log-level", "warning", "--no-access-log", "--no-server-header", "--no-proxy-headers"),
        *("--timeout-graceful-shutdown", "3"),
        # A client sends one short message on a socket; and frames that all sockets share are not compressed for each.
        *("--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
    ]


def worker_command() -> list[str]:
    """The Celery worker: threads, because tasks are short and wait for the database, and memory counts."""
    return [
        # Its warning about root is for pickled tasks, and we accept JSON only.
        *(sys.executable, "-W", "ignore:You're running the worker with superuser privileges"),
        *("-m", "celery", "--quiet", "-A", "memoryhub.config.celery", "worker"),
        *("--pool", "threads", "--concurrency", "2", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def beat_command(data: Path) -> list[str]:
    """Celery's clock, with its schedule file in the data directory."""
    return [
        *(sys.executable, "-m", "celery", "--quiet", "-A", "memoryhub.config.celery", "beat"),
        *("--schedule", str(data / "beat-schedule"), "--pidfile", "", "--loglevel", "WARNING"),
    ]


def main() -> int:
    """Run everything until a signal; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    data = data_folder()
    supervisor: Supervisor | None = None
    lock = None
    try:
        begun = time.monotonic()
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = processes.hold(data / "launch.lock")
        port = _port()
        _refuse_flags()
        # What a killed launcher has left behind, and only that: each process carries our mark.
        processes.end(processes.marked(data), seconds=3)
        _refuse_taken(port)
        environment, owner_url = _environment(data)
        _prepare({**environment, OWNER_URL: owner_url})
        commands = _commands(port, data)
        supervisor = Supervisor(commands, environment, ROOT)
        with step(", ".join(commands)):
            if not supervisor.wait_for("web", lambda: _ready(port), seconds=READY_SECONDS):
                raise StartRefused("The web process does not become ready; see its output above.")
        _announce(port, data, time.monotonic() - begun)
        _keep_running(supervisor, data)
    except KeyboardInterrupt:
        return 0
    except (StartRefused, CannotStart, processes.Busy, OSError) as refusal:
        say(f"memoryhub does not start: {refusal}" if supervisor is None else f"memoryhub stops: {refusal}")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # stopping is bounded, and must not be interrupted
        if lock is not None:
            _stop(supervisor, data)
    return 0


def _port() -> int:
    text = os.environ.get("PORT", "").strip() or "8000"
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise StartRefused(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _refuse_flags() -> None:
    try:
        wants_demo()
    except ValueError as error:
        raise StartRefused(str(error)) from None


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = f"port {port} cannot be used ({error.strerror}); choose another: make run PORT=8001"
            raise StartRefused(reason) from None


def _environment(data: Path) -> tuple[dict[str, str], str]:
    """Start the servers unless the environment names them; return the environment of every part, and the owner's URL.

    The owner's URL is in no part's environment: only preparing, and commands, sign in as the owner.
    """
    named = [name for name in URLS if os.environ.get(name)]
    if named and len(named) < len(URLS):
        raise StartRefused(f"set all three of {', '.join(URLS)}, or none of them; see docs/operations.md.")
    kept = read_file(data / "runtime.env")
    if not (os.environ.get("MASTER_KEY") or os.environ.get("MASTER_KEY_FILE")):
        _make_master_key(data, new=not kept)
    values = {name: os.environ.get(name) or kept.get(name) or secrets.token_urlsafe(48) for name in KEPT}
    if len(values["SECRET_KEY"]) < MIN_SECRET:
        # Else it would be stored, and used from now on.
        raise StartRefused(f"SECRET_KEY must have at least {MIN_SECRET} characters.")
    owner_url = os.environ.get(OWNER_URL, "")
    if not named:
        with step("PostgreSQL and Valkey"):
            servers = embedded.start(data, say=lambda line: say(f"    {line}"))
        values |= {"DATABASE_URL": servers.app_url, "REDIS_URL": servers.redis_url}
        owner_url = servers.owner_url
        embedded.write_private(data / "owner.env", f"{OWNER_URL}={owner_url}\n")
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    # config.env reads it, so that `manage.py` in a second terminal uses the same system.
    embedded.write_private(data / "runtime.env", lines)
    ours = {"MEMORYHUB_DATA": str(data), processes.MARK: str(data), "PYTHONUNBUFFERED": "1"}
    given = {name: value for name, value in os.environ.items() if name != OWNER_URL}
    return {"LOG_FORMAT": "text", "LOG_LEVEL": "WARNING", **_web_core(), **given, **values, **ours}, owner_url


def _web_core() -> dict[str, str]:
    """The one web process stays on one core, where there are several (ADR 6)."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    return {"WEB_CORE": str(max(cores))} if len(cores) > 1 else {}


def _make_master_key(data: Path, *, new: bool) -> None:
    """Create the master key, which wraps all other keys, once: no other key can open what it sealed."""
    path = data / "master.key"
    if path.is_file():
        return
    if not new:
        raise StartRefused(f"{path} is missing, and without it confidential memory cannot be read. Restore it.")
    embedded.write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")


def _prepare(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "memoryhub.config.prepare"]
    done = subprocess.run(command, env=environment, cwd=ROOT, start_new_session=True, check=False)
    if done.returncode != 0:
        raise StartRefused("the step above failed; see its output.")


def _commands(port: int, data: Path) -> dict[str, list[str]]:
    commands = {"web": web_command(port), "worker": worker_command(), "beat": beat_command(data)}
    if wants_demo():
        commands["demo"] = [sys.executable, "-m", "agents.demo"]
    return commands


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def _announce(port: int, data: Path, seconds: float) -> None:
    say(f"\nmemoryhub runs at http://127.0.0.1:{port}/   (after {seconds:.1f} s)\n")
    logins = data / "logins.txt"
    if logins.is_file():
        say(f"Sign in (kept in {logins}):")
        for line in logins.read_text().splitlines():
            say(f"  {line}")
        say("  Those who have changed a password are not listed after the next start; delete the file when all have.")
    say("\nCtrl-C stops everything; the data stays. The output of the parts follows.\n")


def _keep_running(supervisor: Supervisor, data: Path) -> None:
    """Watch everything until a signal; under make, also until make, which alone could stop us, is gone."""
    parent = os.getppid() if os.environ.get("MAKELEVEL") else None
    external = bool(os.environ.get("DATABASE_URL"))
    while parent is None or os.getppid() == parent:
        time.sleep(0.5)
        supervisor.watch()
        if not external:
            try:
                for name in embedded.revive(data):
                    say(f"servers| {name} had ended and was restarted")
            except CannotStart as failure:
                say(f"servers| {failure} Trying again.")


def _stop(supervisor: Supervisor | None, data: Path) -> None:
    if supervisor is None:
        embedded.stop(data)
        return
    say("\nStopping …")
    supervisor.stop()
    processes.end(processes.marked(data), seconds=1)  # what the parts may have started themselves
    embedded.stop(data)
    say("Stopped. `make run` continues where this ended.")


if __name__ == "__main__":
    sys.exit(main())
