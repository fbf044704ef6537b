"""The embedded servers: what they let in, what they keep, and that no kill blocks the next start."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from memoryhub.run import embedded, processes
from memoryhub.run.server_home import CannotStart
from tests.support.servers import ROOT
from tests.support.timing import wait_until


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, embedded.Servers]]:
    """A pair for the tests that only look."""
    data = tmp_path_factory.mktemp("common") / "data"
    yield data, embedded.start(data, say=lambda _: None)
    embedded.remove(data)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    embedded.remove(folder)


@pytest.fixture
def pair(data: Path) -> embedded.Servers:
    return embedded.start(data, say=lambda _: None)


def postmaster(data: Path) -> psutil.Process:
    folder = (data / "servers").resolve() / "postgres"
    return processes.heads(processes.working_in(folder, "postgres"))[0]


def valkey(data: Path) -> psutil.Process:
    return processes.working_in((data / "servers").resolve() / "valkey", "valkey-server")[0]


def one(url: str, sql: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(sql).fetchone()
    return row and row[0]


def test_the_app_role_is_neither_owner_nor_superuser_nor_past_row_level_security(common) -> None:
    _, pair = common
    columns = "rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
    flags = f"select array[{columns}] from pg_roles where rolname = %s"
    with psycopg.connect(pair.app_url) as app:
        assert app.execute(flags, [embedded.APP]).fetchone() == ([False] * 5,)
        member = "select pg_has_role(current_user, %s, 'member')"
        assert app.execute(member, [embedded.OWNER]).fetchone() == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("create table public.mine ()")
    with psycopg.connect(pair.owner_url) as owner:
        assert owner.execute(flags, [embedded.OWNER]).fetchone() == ([False, False, True, False, False],)


def test_nobody_gets_in_without_the_password(common) -> None:
    _, pair = common
    address = pair.app_url.rpartition("@")[2]
    for login in (f"{embedded.APP}:wrong", embedded.APP, "postgres:postgres", "postgres"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://{login}@{address}", connect_timeout=5)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(f"redis://{pair.redis_url.rpartition('@')[2]}").ping()


def test_the_servers_listen_on_the_loopback_only(common) -> None:
    data, _ = common
    for process in (postmaster(data), valkey(data)):
        listening = [found.laddr.ip for found in process.net_connections() if found.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]


def test_passwords_stand_in_no_argument_and_in_files_of_the_owner_only(common) -> None:
    data, pair = common
    secrets = [url.split("@")[0].rpartition(":")[2] for url in (pair.app_url, pair.owner_url, pair.redis_url)]
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        assert not any(secret in line for secret in secrets)
    for folder in (data, (data / "servers").resolve()):
        for path in (path for path in folder.rglob("*") if path.is_file() and "/postgres/" not in str(path)):
            if any(secret in path.read_text(errors="replace") for secret in secrets):
                assert path.name == "servers.json"
                assert path.stat().st_mode & 0o077 == 0


def test_the_log_holds_nothing_of_what_was_written(common) -> None:
    data, pair = common
    with psycopg.connect(pair.owner_url, autocommit=True) as owner:
        owner.execute("create table note (id int primary key, body text)")
        owner.execute("insert into note values (1, %s)", ["canary-7d1f"])
        for statement in ("insert into note values (1, 'canary-7d1f')", "select 'canary-7d1f'::int", "bad canary-7d1f"):
            with pytest.raises(psycopg.Error):
                owner.execute(statement)
    log = (data / "log" / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "canary-7d1f" not in log


def test_data_and_addresses_outlive_a_restart(pair: embedded.Servers, data: Path) -> None:
    with psycopg.connect(pair.owner_url, autocommit=True) as owner:
        owner.execute("create table kept as select 42 as answer")
    embedded.stop(data)
    assert not processes.working_in((data / "servers").resolve() / "postgres", "postgres")
    assert embedded.start(data) == pair
    assert one(pair.owner_url, "select answer from kept") == 42


def test_a_killed_server_comes_back_at_the_same_address(pair: embedded.Servers, data: Path) -> None:
    with psycopg.connect(pair.owner_url, autocommit=True) as owner:
        owner.execute("create table kept as select 42 as answer")
        postmaster(data).kill()  # its backends, this connection's among them, linger for a moment
        time.sleep(0.05)
        valkey(data).kill()
        time.sleep(0.05)
        assert embedded.revive(data) == ["PostgreSQL", "Valkey"]
    assert embedded.revive(data) == []
    assert one(pair.owner_url, "select answer from kept") == 42
    assert redis.Redis.from_url(pair.redis_url).ping()


def start_elsewhere(data: Path) -> subprocess.Popen[str]:
    code = f"""
import time; from pathlib import Path; from memoryhub.run import embedded
print(embedded.start(Path({str(data)!r}), say=lambda _: None).app_url, flush=True); time.sleep(600)
"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE)


def test_servers_whose_starter_was_killed_are_taken_over(data: Path) -> None:
    first = start_elsewhere(data)
    assert first.stdout is not None
    url = first.stdout.readline().strip()
    left = postmaster(data).pid
    with pytest.raises(processes.Busy, match=f"process {first.pid}"):
        embedded.start(data)
    first.kill()
    first.wait()
    assert postmaster(data).pid == left  # that is what must be dealt with
    assert embedded.start(data).app_url == url
    assert postmaster(data).pid != left
    assert one(url, "select 1") == 1


def test_a_stale_pid_file_with_another_process_number_blocks_nothing(pair: embedded.Servers, data: Path) -> None:
    embedded.stop(data)
    stranger = subprocess.Popen(["sleep", "60"])
    pid_file = (data / "servers").resolve() / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{stranger.pid}\n{pid_file.parent}\n1\n1\n\n127.0.0.1\n0 0\nready\n")
    assert embedded.start(data) == pair
    assert stranger.poll() is None  # and the stranger is left alone
    stranger.kill()
    stranger.wait()


def test_a_port_that_somebody_took_meanwhile_is_replaced(pair: embedded.Servers, data: Path) -> None:
    embedded.stop(data)
    taken = int(pair.app_url.rpartition("/")[0].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", taken)):
        again = embedded.start(data)
    assert again.app_url != pair.app_url
    assert one(again.app_url, "select 1") == 1


def test_a_half_made_cluster_is_made_again(data: Path) -> None:
    making = start_elsewhere(data)
    while not list((data / "servers").glob("postgres.new*")):
        time.sleep(0.005)
    making.send_signal(signal.SIGKILL)
    making.wait()

    def start() -> embedded.Servers | None:
        try:
            return embedded.start(data, say=lambda _: None)
        except processes.Busy:  # a child that it was about to begin has its lock for a moment
            return None

    assert one(wait_until(start).app_url, "select 1") == 1


def test_a_database_whose_passwords_are_gone_is_put_aside_and_not_deleted(pair: embedded.Servers, data: Path) -> None:
    embedded.stop(data)
    (data / "servers.json").unlink()
    said: list[str] = []
    assert one(embedded.start(data, say=said.append).app_url, "select 1") == 1
    aside = list((data / "servers").resolve().glob("postgres.*"))
    assert len([path for path in aside if path.is_dir()]) == 1
    assert "put aside" in said[0]


def test_a_server_that_cannot_start_says_where_to_look(pair: embedded.Servers, data: Path, monkeypatch) -> None:
    embedded.stop(data)
    monkeypatch.setattr(embedded, "GIVE_UP_SECONDS", 1.0)
    (data / "servers").resolve().joinpath("postgres", "PG_VERSION").write_text("17\n")
    with pytest.raises(CannotStart, match="made by PostgreSQL 17"):
        embedded.start(data)
    (data / "servers").resolve().joinpath("postgres", "PG_VERSION").write_text("18\n")
    (data / "servers").resolve().joinpath("postgres", "global", "pg_control").rename(data / "pg_control")
    with pytest.raises(CannotStart, match=r"postgres\.log"):
        embedded.start(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_as_root_no_folder_is_opened_and_another_user_serves(data: Path) -> None:
    data.mkdir(mode=0o700)
    before = {path: path.stat().st_mode for path in (data, *data.parents, Path(sys.prefix), *Path(sys.prefix).parents)}
    said: list[str] = []
    embedded.start(data, say=said.append)
    assert {path: path.stat().st_mode for path in before} == before
    assert [postmaster(data).username(), valkey(data).username()] == ["memoryhub"] * 2
    assert "runs as the user memoryhub" in said[0]


def test_every_database_has_pgvector_and_a_cluster_that_was_made_without_it_gets_it(
    data: Path, pair: embedded.Servers
) -> None:
    asked = "select extname from pg_extension where extname = 'vector'"
    with psycopg.connect(pair.owner_url, autocommit=True) as owner:
        owner.execute("create database another")
    another = pair.owner_url.rpartition("/")[0] + "/another"
    assert one(pair.owner_url, asked) == one(another, asked) == "vector"
    embedded.stop(data)
    mark = (data / "servers").resolve() / embedded.VECTOR_MARK
    mark.unlink()
    again = embedded.start(data, say=lambda _: None)
    assert one(again.owner_url, asked) == "vector"
    assert mark.exists()
