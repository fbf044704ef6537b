"""An installation of an earlier version: set up, used and stopped, as somebody has it before an upgrade."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg

from memoryhub.run import embedded, processes
from tests.support import servers

# The last version before ledgers had lives, labels a budget and accounts a first password.
COMMIT = "a4f9300c40995250f6074e9551c918e9b4cf14aa"
RUNS = servers.ROOT.parent / "shared" / "data" / "airline-support-trajectories.jsonl"
# Nothing of ours but what somebody sets by hand; every one of these settings was there in the earlier version.
SETTINGS = {
    "DEMO": "0",
    "RATE_LIMIT_PER_MINUTE": "90000",
    "WEB_THREADS": "8",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "CSRF_TRUSTED_ORIGINS": "http://localhost:1",
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "text",
}
UNSET = (
    *("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "MASTER_KEY", "METRICS_TOKEN", "REDIS_PREFIX"),
    *("DJANGO_SETTINGS_MODULE", "DJANGO_ALLOW_ASYNC_UNSAFE"),
)
Snapshot = dict[str, dict[str, dict[str, Any]]]  # table -> primary key -> row


def unpack(folder: Path) -> Path:
    """The earlier version's tree, out of the repository's history. Raises AssertionError in a clone without it."""
    made = subprocess.run(["git", "archive", COMMIT], cwd=servers.ROOT, capture_output=True)
    assert made.returncode == 0, f"the history lacks {COMMIT}: this test needs a full clone ({made.stderr.decode()})"
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "node_modules").symlink_to(servers.ROOT / "node_modules")
    return folder


@dataclass
class Installation:
    """A data directory, and the version whose code is in `tree`."""

    data: Path
    tree: Path
    port: int = field(default_factory=servers.free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        return {**kept, **SETTINGS, "MEMORYHUB_DATA": str(self.data), "PORT": str(self.port)}

    def manage(self, *arguments: str, text: str = "") -> str:
        """`manage.py` in a second terminal: what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.tree,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.strip()

    @property
    def launcher(self) -> str:
        """The module that `make run` ends in: the earlier version has it elsewhere."""
        return "memoryhub.run.launch" if (self.tree / "memoryhub" / "run").is_dir() else "memoryhub.config.launch"

    @contextmanager
    def running(self) -> Iterator[Path]:
        """What `make run` runs, until the block ends; the file with what it says."""
        said = self.data.parent / f"{self.tree.name}.log"
        with said.open("wb") as output:
            launcher = subprocess.Popen(
                [sys.executable, "-m", self.launcher],
                cwd=self.tree,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            until(lambda: "memoryhub runs at" in said.read_text() or launcher.poll() is not None, seconds=180)
            assert launcher.poll() is None, said.read_text()
            yield said
        finally:
            for part in self.parts(""):
                part.resume()
            launcher.send_signal(signal.SIGINT)
            launcher.wait(timeout=60)

    def parts(self, words: str) -> list[psutil.Process]:
        """The running parts with these words in their command."""
        found = []
        for part in processes.marked(self.data):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if words in " ".join(part.cmdline()):
                    found.append(part)
        return found

    def snapshot(self) -> Snapshot:
        """Every row of every table, read by the owner while nothing else runs."""
        running = embedded.start(self.data, say=lambda _: None)
        try:
            with psycopg.connect(running.owner_url) as owner:
                return {table: _rows(owner, table) for table in _tables(owner)}
        finally:
            embedded.stop(self.data)


def _tables(owner: psycopg.Connection[Any]) -> list[str]:
    found = owner.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
    return [name for (name,) in found]


def _rows(owner: psycopg.Connection[Any], table: str) -> dict[str, dict[str, Any]]:
    (columns,) = owner.execute(
        "select array_agg(a.attname::text) from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
        " and a.attnum = any (i.indkey) where i.indrelid = %s::regclass and i.indisprimary",
        [f'public."{table}"'],
    ).fetchone() or (None,)
    rows = [row for (row,) in owner.execute(f'select to_jsonb(t) from public."{table}" t')]
    names = [name for name in columns or [] if rows and name in rows[0]]
    return {json.dumps([row[name] for name in names] if names else row, sort_keys=True): row for row in rows}


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait. Raises AssertionError when it did not happen in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


class Person:
    """Somebody's browser, by its cookies."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, timeout=30, headers={"Accept": "application/json"})

    def sign_in(self, username: str, password: str) -> "Person":
        page = self.client.get("/login/", headers={"Accept": "text/html"}).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page
        form = {"username": username, "password": password, "csrfmiddlewaretoken": token[1]}
        answer = self.client.post("/login/", data=form, headers={"Accept": "text/html", "Referer": "/login/"})
        assert answer.status_code == 302, answer.text
        self.client.get("/", headers={"Accept": "text/html"})
        return self

    def post(self, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        return self.client.post(path, json=body or {}, headers={"X-CSRFToken": self.client.cookies["csrftoken"]})


class Agent:
    """The API with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.key = key
        headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx2.Client(base_url=f"{url}/api/v1/", timeout=60, headers=headers)

    def get(self, path: str) -> httpx2.Response:
        return self.client.get(path)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, json={} if body is None else body, headers=named)

    def make(self, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.send("POST", path, body, **headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


def recorded_runs(folder: Path) -> Path:
    """A hundred recorded runs of an agent: the real ones where they are at hand, else made ones of the same form."""
    if RUNS.is_file():
        return RUNS
    made = folder / "runs.jsonl"
    with made.open("w") as file:
        for number in range(100):
            asks = {"name": "transfer_to_human_agents", "arguments": json.dumps({"summary": f"Case {number}."})}
            call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": asks}]}
            turns = [{"role": "user", "content": f"I want to change booking {number}."}]
            turns += [{"role": "assistant", "content": f"Let me look at {number}."}] * (1 + number % 9)
            turns += [call] if number % 5 == 0 else []
            file.write(json.dumps({"task_id": number, "trial": 0, "reward": 1.0, "messages": turns}) + "\n")
    return made
