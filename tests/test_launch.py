"""`make run`: it comes up, tells the way in, mends what dies, stops whole, and no kill blocks the next start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import psutil
import pytest

from memoryhub.run import embedded, frontend, processes
from memoryhub.run.supervisor import Supervisor
from tests.support import servers
from tests.support.timing import wait_until

LAUNCH = [sys.executable, "-m", "memoryhub.run.launch"]
# Empty is as good as unset: a launcher of these tests starts servers of its own and makes secrets of its own.
OWN = dict.fromkeys(
    ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "MASTER_KEY", "METRICS_TOKEN"), ""
)


class Launch:
    """A running launcher, and what stands in its terminal."""

    def __init__(self, data: Path, process: servers.Process, port: int) -> None:
        self.data, self.popen, self.port = data, process.popen, port
        self.log = process.log

    def part(self, words: str) -> psutil.Process | None:
        """The part that it keeps running with these words in its command."""
        for process in processes.marked(self.data):
            with suppress(psutil.Error):  # it has ended meanwhile
                if words in " ".join(process.cmdline()):
                    return process
        return None

    def ready(self) -> bool:
        return servers.answers(f"http://127.0.0.1:{self.port}/readyz")


Starter = Callable[..., AbstractContextManager[Launch]]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    processes.end(processes.marked(folder))
    embedded.remove(folder)


@pytest.fixture
def launch(data: Path) -> Starter:
    """Starts the launcher as `make run` does, and stops it as a supervisor would, by SIGTERM."""

    @contextmanager
    def start(**environment: str) -> Iterator[Launch]:
        port = servers.free_port()
        values = {**OWN, "MEMORYHUB_DATA": str(data), "PORT": str(port), "DEMO": "1", **environment}
        with servers.started("launch", LAUNCH, lambda said: "memoryhub runs at" in said, environment=values) as process:
            yield Launch(data, process, port)

    return start


def refusal(data: Path, **environment: str) -> str:
    """What the launcher says when it does not start."""
    values = {**os.environ, **OWN, "MEMORYHUB_DATA": str(data), **environment}
    done = subprocess.run(LAUNCH, cwd=servers.ROOT, env=values, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def nothing_runs(data: Path) -> bool:
    home = (data / "servers").resolve()
    left = [
        *processes.working_in(home / "postgres", "postgres"),
        *processes.working_in(home / "valkey", "valkey-server"),
    ]
    return not [*processes.marked(data), *left]


def test_it_comes_up_mends_what_dies_and_stops_whole(launch: Starter, data: Path) -> None:
    with launch() as running:
        assert running.ready()
        said = running.log.read_text()
        assert f"http://127.0.0.1:{running.port}/" in said
        for line in (data / "logins.txt").read_text().splitlines():
            assert line in said
        for name in ("logins.txt", "runtime.env", "owner.env", "master.key", "servers.json", "demo-keys.json"):
            assert (data / name).stat().st_mode & 0o077 == 0, name

        web = running.part("uvicorn")
        assert web is not None
        assert len(web.cpu_affinity()) == 1

        # The owner's login is in no part's environment, and in a file of its own.
        owner = (data / "owner.env").read_text().strip().partition("=")[2]
        password = urlsplit(owner).password
        assert password
        parts = processes.marked(data)
        assert len(parts) >= 4
        for part in parts:
            environ = Path(f"/proc/{part.pid}/environ").read_bytes()
            assert b"DATABASE_URL=" in environ
            assert b"DATABASE_OWNER_URL" not in environ, part.cmdline()
            assert password.encode() not in environ, part.cmdline()
        assert password not in (data / "runtime.env").read_text()

        # A second terminal meets the same system with nothing but the data directory.
        clean = {"PATH": os.environ["PATH"], "MEMORYHUB_DATA": str(data)}
        command = [sys.executable, "manage.py", "migrate", "--check", "--database", "owner"]
        subprocess.run(command, cwd=servers.ROOT, env=clean, check=True, capture_output=True)

        assert f"process {running.popen.pid}" in refusal(data, PORT=str(servers.free_port()))

        for words in ("uvicorn", "config.celery worker", "config.celery beat", "agents.demo"):
            before = running.part(words)
            assert before is not None, words
            before.kill()
            wait_until(lambda words=words, pid=before.pid: (now := running.part(words)) and now.pid != pid, 30)
        cluster = (data / "servers").resolve() / "postgres"
        processes.heads(processes.working_in(cluster, "postgres"))[0].kill()
        processes.working_in(cluster.parent / "valkey", "valkey-server")[0].kill()
        wait_until(lambda: "Valkey had ended and was restarted" in running.log.read_text(), 30)
        wait_until(running.ready, 30)

        begun = time.monotonic()
        running.popen.send_signal(signal.SIGINT)
        assert running.popen.wait(timeout=15) == 0
        assert time.monotonic() - begun < 10
    assert nothing_runs(data)


def test_after_a_kill_the_next_start_cleans_up_and_keeps_data_and_secrets(launch: Starter, data: Path) -> None:
    with launch(DEMO="0") as first:
        kept = {name: (data / name).read_text() for name in ("logins.txt", "runtime.env", "owner.env", "master.key")}
        # As an older version left it: the owner's login beside what every part reads. The next start moves it out.
        (data / "runtime.env").write_text(kept["runtime.env"] + kept["owner.env"])
        (data / "owner.env").unlink()
        clean = {"PATH": os.environ["PATH"], "MEMORYHUB_DATA": str(data)}
        command = [sys.executable, "manage.py", "migrate", "--check", "--database", "owner"]
        subprocess.run(command, cwd=servers.ROOT, env=clean, check=True, capture_output=True)
        first.popen.kill()
        first.popen.wait()
        left = [process.pid for process in processes.marked(data)]
        assert len(left) == 3  # web, worker and beat live on: that is what must be dealt with
    with launch(DEMO="0") as second:
        assert second.ready()
        assert not {process.pid for process in processes.marked(data)} & set(left)
        assert {name: (data / name).read_text() for name in kept} == kept
    assert nothing_runs(data)


def test_with_servers_named_from_outside_it_starts_none(launch: Starter, data: Path) -> None:
    outside = {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "MASTER_KEY")}
    with launch(**outside, DEMO="0") as running:
        assert running.ready()
        assert not (data / "servers").exists()
        for part in processes.marked(data):
            assert b"DATABASE_OWNER_URL" not in Path(f"/proc/{part.pid}/environ").read_bytes(), part.cmdline()
    assert "DATABASE_URL" not in (data / "runtime.env").read_text()
    assert not (data / "owner.env").exists()


def test_with_the_settings_of_a_public_installation_it_starts_without_a_demo(launch: Starter, data: Path) -> None:
    outside = {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "MASTER_KEY")}
    public = {**outside, "HTTPS": "1", "ALLOWED_HOSTS": "hub.example.org", "DEMO": ""}
    # A first administrator's password stands in a file: it is changed before the first start that strangers can reach.
    from memoryhub.core.actions import people
    from memoryhub.core.models import Actor, PasswordOrigin
    from tests.support.factories import PASSWORD, installation, unique

    Actor.objects.update(password_origin=PasswordOrigin.OWN)  # of other tests' first runs

    name, first = unique("first"), {"is_superuser": True, "origin": PasswordOrigin.GENERATED}
    people.add(installation(), username=name, password=PASSWORD, **first)
    data.mkdir()
    (data / "logins.txt").write_text(f"{name} {PASSWORD.split()[0]} changed since\n")
    assert f"manage.py set_password {name}" in refusal(data, PORT=str(servers.free_port()), **public)
    command = [sys.executable, "manage.py", "set_password", name, "--password-file", "-"]
    subprocess.run(command, cwd=servers.ROOT, input="a passphrase of one's own\n", text=True, check=True)
    with launch(**public) as running:
        assert not (data / "logins.txt").exists()  # what no longer holds is not shown
        assert running.ready()
        assert running.part("agents.demo") is None
        assert "demo" not in running.log.read_text()
        address = f"http://127.0.0.1:{running.port}/api/v1/"
        for path in ("me", f"escalations/{uuid4()}/answer"):
            plain = httpx2.post if path == "me" else httpx2.get
            answer = plain(address + path, headers={"Host": "hub.example.org"}, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        proxied = {"Host": "hub.example.org", "X-Forwarded-Proto": "https"}
        assert httpx2.get(address + "me", headers=proxied, timeout=30).json()["code"] == "unauthorized"


def test_what_cannot_be_started_is_refused_with_a_sentence(data: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} cannot be used" in refusal(data, PORT=port)
    assert "PORT must be a number" in refusal(data, PORT="80a")
    assert "set all three" in refusal(data, PORT=str(servers.free_port()), REDIS_URL="redis://127.0.0.1:1/0")
    assert "DEMO must be 1 or 0" in refusal(data, PORT=str(servers.free_port()), DEMO="banana")
    assert "SECRET_KEY must have at least 40" in refusal(data, PORT=str(servers.free_port()), SECRET_KEY="x")
    assert not (data / "runtime.env").exists()  # a weak one is not kept
    (data / "master.key").unlink()
    (data / "runtime.env").write_text("SECRET_KEY=x\n")
    assert "master.key is missing" in refusal(data, PORT=str(servers.free_port()))
    assert not (data / "servers").exists()


def test_a_part_that_keeps_ending_is_started_less_and_less_often(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor({"broken": [sys.executable, "-c", "raise SystemExit(3)"]}, dict(os.environ), servers.ROOT)
    assert not supervisor.wait_for("broken", lambda: False, seconds=20, tries=3)
    supervisor.stop()
    said = capsys.readouterr().out.splitlines()
    assert said == [f"broken | ended (status 3); restarting in {pause} s" for pause in ("0.5", "1", "2")]


def test_a_part_that_is_killed_again_and_again_is_back_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor(
        {"web": [sys.executable, "-c", "import time; time.sleep(60)"]}, dict(os.environ), servers.ROOT
    )
    (child,) = supervisor.children

    def runs() -> bool:
        supervisor.watch()
        return child.process is not None and child.process.poll() is None

    for _ in range(6):
        wait_until(runs, seconds=10)
        assert child.process is not None
        child.process.kill()
        child.process.wait()
    wait_until(runs, seconds=10)
    supervisor.stop()
    said = capsys.readouterr().out.splitlines()
    assert said == ["web    | ended (signal SIGKILL); restarting in 0.5 s"] * 6


def test_a_part_whose_fault_is_mended_is_back_within_ten_seconds(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    code = f"import pathlib, sys, time; pathlib.Path({str(mended)!r}).exists() or sys.exit(3); time.sleep(60)"
    supervisor = Supervisor({"web": [sys.executable, "-c", code]}, dict(os.environ), servers.ROOT)
    (child,) = supervisor.children
    supervisor.wait_for("web", lambda: False, seconds=30, tries=4)
    assert child.failures == 4
    mended.touch()
    begun = time.monotonic()

    def lives() -> bool:
        supervisor.watch()
        return child.process is not None and time.monotonic() - child.begun > 1

    wait_until(lives, seconds=10)
    assert time.monotonic() - begun < 10
    supervisor.stop()


def test_what_a_part_says_stands_behind_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import time; print('one'); print('two', flush=True); time.sleep(60)"
    supervisor = Supervisor({"web": [sys.executable, "-c", code]}, dict(os.environ), servers.ROOT)
    said: list[str] = []

    def both() -> bool:
        said.extend(capsys.readouterr().out.splitlines())
        return len(said) == 2

    assert supervisor.wait_for("web", both, seconds=20)
    supervisor.stop()
    assert said == ["web    | one", "web    | two"]


def test_front_end_files_are_copied_once_and_name_no_map(tmp_path: Path) -> None:
    assert frontend.install_frontend(tmp_path)
    for name in frontend.FILES:
        assert b"sourceMappingURL" not in (tmp_path / "frontend" / name).read_bytes()[-300:]
    assert not frontend.install_frontend(tmp_path)
