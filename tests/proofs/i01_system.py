"""A system of its own for I1: PostgreSQL, Valkey, two web processes and a worker, which are killed and come back."""

import base64
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from memoryhub.run import embedded, processes
from memoryhub.run.launch import web_command, worker_command
from tests.support.servers import ROOT, answers, free_port

POSTGRES = "postgres"
WEB = ("web 1", "web 2")
RECOVERY_SECONDS = 90.0  # of a busy machine


@dataclass
class System:
    """The processes under test. `application`: what the web processes serve; `restarts`: how often each was started."""

    data: Path
    environment: dict[str, str]
    ports: dict[str, int]
    keys: list[str] = field(default_factory=list)
    application: str = "memoryhub.config.asgi:application"
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def commands(self) -> dict[str, list[str]]:
        """By name, the web processes and the worker."""
        made = {"worker": worker_command()}
        for name, port in self.ports.items():
            made[name] = [self.application if word.endswith(":application") else word for word in web_command(port)]
        return made

    def watch(self) -> None:
        """Start what is missing, as the product's launcher does."""
        embedded.revive(self.data)
        for name, command in self.commands().items():
            if name not in self.running or self.running[name].poll() is not None:
                with (self.data / f"{name}.log").open("ab") as words:
                    self.running[name] = subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=words,
                        stderr=words,
                        start_new_session=True,
                    )

    def recover(self) -> None:
        """Start what is missing and wait until both web processes are ready."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        self.watch()
        while not all(answers(f"http://127.0.0.1:{port}/readyz") for port in self.ports.values()):
            assert time.monotonic() < deadline, "the system does not come back"
            self.watch()
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """kill -9, in the middle of whatever it does; all of PostgreSQL, so that what it kept back is lost."""
        if name != POSTGRES:
            self.running[name].kill()
            self.running[name].wait()
            return
        cluster = (self.data / "servers" / "postgres").resolve()
        postmaster = int((cluster / "postmaster.pid").read_text().split()[0])
        for process in [postmaster, *self._backends(postmaster)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _backends(self, postmaster: int) -> list[int]:
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
        return [int(child) for child in children.read_text().split()]

    def serve(self, application: str) -> None:
        """Put the web processes' application in place of the one that they serve."""
        self.application = application
        for name in WEB:
            self.kill(name)
        self.recover()

    @contextmanager
    def owner(self) -> Iterator[psycopg.Connection[Any]]:
        """The database's owner, for what no door tells, and for what a control changes."""
        with psycopg.connect(self.environment["DATABASE_OWNER_URL"], autocommit=True) as connection:
            yield connection

    def end(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        processes.end(processes.marked(self.data))
        embedded.remove(self.data)


@contextmanager
def system(name: str) -> Iterator[System]:
    """All of it, ready, with a team of eight agents."""
    data = Path(os.environ["MEMORYHUB_DATA"]) / f"{name}-{os.environ['REDIS_PREFIX']}"
    servers = embedded.start(data, say=lambda _: None)
    environment = {
        **os.environ,
        processes.MARK: str(data),
        "MEMORYHUB_DATA": str(data),
        "DATABASE_URL": servers.app_url,
        "DATABASE_OWNER_URL": servers.owner_url,
        "REDIS_URL": servers.redis_url,
        "REDIS_PREFIX": name,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LOG_LEVEL": "ERROR",
    }
    made = System(data, environment, {web: free_port() for web in WEB})
    try:
        _run([sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"], environment)
        made.keys = _run([sys.executable, "-m", "tests.proofs.i01_team"], environment).split()
        made.recover()
        yield made
    finally:
        made.end()


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def pick(dice: random.Random) -> str:
    """Who is killed next: PostgreSQL and the web processes alike, the worker now and then."""
    return dice.choices([POSTGRES, *WEB, "worker"], [4, 2, 2, 1])[0]
