"""`make run`: it comes up, tells the way in, mends what dies, stops whole, and nothing that was killed blocks the next start."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from memoryhub.config.frontend import FILES, install_frontend
from memoryhub.config.supervisor import Supervisor
from memoryhub.core import embedded, processes
from tests import servers

LAUNCH = [sys.executable, "-m", "memoryhub.config.launch"]
UNSET = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "MASTER_KEY", "METRICS_TOKEN", "REDIS_PREFIX")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    processes.end(processes.marked(folder))
    embedded.remove(folder)


class Launch:
    """One launcher of a test, and what stands in its terminal."""

    def __init__(self, data: Path, process: servers.Process, port: int) -> None:
        self.data, self.port = data, port
        self.popen, self.log = process.popen, process.log

    def parts(self) -> dict[str, psutil.Process]:
        """The processes that it keeps running, by name."""
        found = {}
        for process in processes.marked(self.data):
            line = " ".join(process.cmdline())
            for name in ("uvicorn", "worker", "beat", "agents.demo"):
                if name in line and process.ppid() == self.popen.pid:
                    found[name] = process
        return found

    def ready(self) -> bool:
        return servers.answers(f"http://127.0.0.1:{self.port}/readyz")


@pytest.fixture
def launch(data: Path) -> Callable[..., AbstractContextManager[servers.Process]]:
    """Starts the launcher as `make run` does, with servers of its own unless the test names others."""
    from contextlib import contextmanager

    @contextmanager
    def start(**environment: str) -> Iterator[Launch]:
        port = servers.free_port()
        values = {**dict.fromkeys(UNSET, ""), "MEMORYHUB_DATA": str(data), "PORT": str(port), "DEMO": "1", **environment}
        log: list[Path] = []
        said = "memoryhub runs at"
        path = Path(os.environ["MEMORYHUB_DATA"]) / "log" / f"{os.environ['REDIS_PREFIX']}-launch.log"
        with servers.started(path.stem, LAUNCH, lambda: said in servers.log_of(path.stem).read_text(), environment=values) as process:
            log.append(process.log)
            yield Launch(data, process, port)

    return start


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
