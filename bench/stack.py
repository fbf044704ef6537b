"""The real servers of one run: its own PostgreSQL and Valkey, a fresh database per measurement, web processes."""

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from memoryhub.run import embedded
from memoryhub.run.frontend import install_frontend

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 30.0
PYTHON = sys.executable


@dataclass(frozen=True)
class Database:
    """One fresh database: its two URLs, and the environment in which the product uses it."""

    owner_url: str
    app_url: str
    environment: dict[str, str]


@dataclass
class Stack:
    """The servers of this run and what was started on them."""

    data: Path
    servers: embedded.Servers
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    root: Path = ROOT  # of the code that is run

    def database(self, name: str, *, migrated: bool = True) -> Database:
        """Make a database, as the owner role, and migrate it unless a baseline makes its own tables."""
        with psycopg.connect(self.servers.owner_url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        owner_url, app_url = (_named(url, name) for url in (self.servers.owner_url, self.servers.app_url))
        environment = {
            **os.environ,
            "MEMORYHUB_DATA": str(self.data),
            "DJANGO_SETTINGS_MODULE": "memoryhub.config.settings",
            "DATABASE_URL": app_url,
            "DATABASE_OWNER_URL": owner_url,
            "REDIS_URL": self.servers.redis_url,
            "REDIS_PREFIX": name,
            "SECRET_KEY": secrets.token_urlsafe(48),
            "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "LOG_LEVEL": "WARNING",  # the baselines log no requests either
            "RATE_LIMIT_PER_MINUTE": "6000000",  # counted as usual, and not reached by one key at full speed
        }
        made = Database(owner_url, app_url, environment)
        if migrated:
            self.run([PYTHON, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"], made.environment)
        return made

    def collect_static(self, database: Database) -> None:
        """Put the pages' static files where the web process serves them from."""
        install_frontend(self.data)
        self.run([PYTHON, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"], database.environment)

    def run(self, command: list[str], environment: dict[str, str], text: str = "") -> str:
        """Run a command of this project to its end and return what it printed. Raises RuntimeError when it fails."""
        done = subprocess.run(
            command, env=environment, cwd=self.root, input=text, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}")
        return done.stdout

    def serve(self, command: list[str], environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
        """Start a web process, on one core as `make run` does, and wait until it answers on its port."""
        server = subprocess.Popen(command, env=environment, cwd=self.root, start_new_session=True)
        os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})  # its threads are made later, and inherit it
        self.running.append(server)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {server.returncode}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return server
            time.sleep(0.05)
        raise RuntimeError(f"{' '.join(command)} does not answer on port {port}")

    def end(self, server: subprocess.Popen[bytes]) -> None:
        """End a process that was started here."""
        self.running.remove(server)
        _end(server)

    def flush_takes(self, microseconds: int) -> None:
        """Delay each flush of the WAL (0: not at all), as a slower disk would: PostgreSQL's commit_delay.

        Only a superuser may set it, and ours cannot log in: it is written to the server's configuration, then a SIGHUP.
        """
        cluster = self.data / "servers" / "postgres"
        settings = f"commit_delay = {microseconds}\ncommit_siblings = 0\n" if microseconds else ""
        (cluster / "postgresql.auto.conf").write_text(settings)
        os.kill(int((cluster / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
        with psycopg.connect(self.servers.owner_url, autocommit=True) as connection:
            while connection.execute("show commit_delay").fetchone() != (str(microseconds),):
                time.sleep(0.05)


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def stack() -> Iterator[Stack]:
    """Servers for one run, in a temporary directory; at the end all are stopped, and the data is deleted."""
    data = Path(tempfile.mkdtemp(prefix="memoryhub-bench-"))
    running: list[subprocess.Popen[bytes]] = []
    try:
        made = Stack(data, embedded.start(data), running)
        yield made
    finally:
        for server in running:
            _end(server)
        embedded.remove(data)
        shutil.rmtree(data, ignore_errors=True)


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(timeout=8)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
