"""Real servers and processes for the tests: a PostgreSQL and a Valkey a run, a database a pytest worker.

Nothing is mocked, flushed or rolled back: the owner migrates one database a run, every pytest worker copies it, the app
role serves, and each test makes a team of its own.
"""

import base64
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg

from memoryhub.run import embedded, processes
from memoryhub.run.frontend import install_frontend

ROOT = Path(__file__).resolve().parents[2]
# What a person's shell may have set, and what would change how the product behaves.
SETTINGS = (
    *("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DEBUG", "HTTPS", "LOG_FORMAT", "LOG_LEVEL", "MASTER_KEY_FILE", "PORT"),
    *("WEB_THREADS", "WEB_CORE", "RATE_LIMIT_PER_MINUTE", "MEMORYHUB_URL", processes.MARK, "MAKELEVEL"),
    "TRUSTED_PROXIES",
    *("CONNECTIONS", "KEEP_ALIVE_SECONDS", "HEADER_BYTES", "HEADER_SECONDS", "BODY_SECONDS", "BODY_STALL_SECONDS"),
    *("SEND_SECONDS", "UNSENT_BYTES", "IN_FLIGHT_PER_KEY", "IN_FLIGHT_PER_SESSION", "IN_FLIGHT_PER_ADDRESS"),
    *("WAITERS_PER_IDEMPOTENCY_KEY", "SOCKETS_PER_PERSON", "PASSWORD_THREADS", "PASSWORD_QUEUE"),
    *("STATEMENT_SECONDS", "LOCK_SECONDS", "IDLE_TRANSACTION_SECONDS", "SETTLE_SECONDS", "SETTLE_WAITERS"),
    *("EMBEDDINGS_URL", "EMBEDDINGS_KEY", "EMBEDDINGS_MODEL"),
)


def drop_database(owner: psycopg.Connection, name: str) -> None:
    """Drop it as soon as nothing holds it: killed processes are noticed late, and autovacuum ends when it is asked to.

    The owner may end neither, so `with (force)` fails where either is there.
    """
    for attempt in range(100):
        try:
            owner.execute(f"drop database {name}")
            return
        except psycopg.errors.ObjectInUse:
            if attempt == 99:
                raise
            time.sleep(0.1)


def begin_run() -> Path:
    """Start fresh servers for this run and put what reaches them into the environment; its data directory.

    `.data/test`, or `.data/test-2` … when other runs are under way in this folder.
    """
    for number in range(1, 10):
        data = ROOT / ".data" / ("test" if number == 1 else f"test-{number}")
        try:
            embedded.remove(data)
            servers = embedded.start(data, say=lambda _: None)
        except processes.Busy:
            continue
        processes.end(processes.marked(data))  # left by a run that was killed
        break
    else:
        raise RuntimeError("nine test runs are under way in this folder")
    for name in SETTINGS:
        os.environ.pop(name, None)
    os.environ |= {
        "MEMORYHUB_DATA": str(data),
        "DATABASE_URL": servers.app_url,
        "DATABASE_OWNER_URL": servers.owner_url,
        "REDIS_URL": servers.redis_url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "METRICS_TOKEN": secrets.token_urlsafe(16),
        "DEMO": "0",
        "RATE_LIMIT_PER_MINUTE": "6000000",  # a proof sends with one key what a team sends; test_limits sets its own
    }
    install_frontend(data)
    subprocess.run([sys.executable, "-m", "memoryhub.config.prepare", "--empty"], cwd=ROOT, check=True)
    return data


def end_run(data: Path) -> None:
    """End everything that the run has started, the servers last."""
    processes.end(processes.marked(data))
    embedded.stop(data)


def begin_worker(name: str) -> None:
    """Give this pytest worker (`gw0` …, or `main`) a database and a corner of Valkey of its own, by environment."""
    number = int(name.removeprefix("gw")) + 1 if name.startswith("gw") else 0
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname="postgres", autocommit=True) as owner:
        owner.execute(f"create database test_{name} template {embedded.DATABASE}")
    for variable in ("DATABASE_URL", "DATABASE_OWNER_URL"):
        os.environ[variable] = _with_path(os.environ[variable], f"test_{name}")
    os.environ["REDIS_URL"] = _with_path(os.environ["REDIS_URL"], str(number))
    os.environ["REDIS_PREFIX"] = f"test-{name}"  # publish and subscribe know no database numbers
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Process:
    """A process of the product, started for a test."""

    popen: subprocess.Popen[bytes]
    log: Path


@contextmanager
def started(
    name: str,
    command: list[str],
    ready: Callable[[str], object],
    *,
    environment: Mapping[str, str] | None = None,
    seconds: float = 60,
) -> Iterator[Process]:
    """Run a process of the product until the block ends; its words go to `<data>/log/<database>-<name>.log`.

    `ready` is asked with its words so far. Raises AssertionError, with the last of them, when it ends or is late.
    """
    data = Path(os.environ["MEMORYHUB_DATA"])
    log = data / "log" / f"{urlsplit(os.environ['DATABASE_URL']).path.strip('/')}-{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**_served(), **(environment or {}), processes.MARK: str(data), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while not ready(log.read_text(errors="replace")):
            if popen.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{name} does not become ready: {log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield Process(popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _served() -> dict[str, str]:
    """What a process that serves has in its environment: not the owner's login."""
    return {name: value for name, value in os.environ.items() if name != "DATABASE_OWNER_URL"}


def answers(url: str) -> bool:
    """Whether a GET of the address is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
