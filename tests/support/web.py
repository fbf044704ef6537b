"""The product's web process for tests: started on a free port, and what it uses and counts.

tests/conftest.py imports this before Django is set up, so nothing here may need Django.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2

from memoryhub.run.launch import web_command
from tests.support import servers

APPLICATION = "memoryhub.config.asgi:application"
_METRIC = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


@dataclass(frozen=True)
class Server:
    """The web process under test."""

    url: str
    process: servers.Process


@contextmanager
def web(
    name: str, *, environment: Mapping[str, str] | None = None, files: int | None = None, application: str = APPLICATION
) -> Iterator[Server]:
    """A web process of the product on a free port, with this worker's database; `name` is its log's.

    `files`: how many it may open; `application`: a control's, in place of the product's.
    """
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [application if word == APPLICATION else word for word in web_command(port)]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    ready = partial(servers.answers, f"{url}/readyz")
    with servers.started(name, command, lambda _: ready(), environment=environment) as process:
        yield Server(url, process)


def memory_of(server: Server) -> int:
    """What the web process has in memory, in bytes."""
    words = Path(f"/proc/{server.process.popen.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", words)
    assert found is not None
    return int(found[1]) * 1024


def metrics(server: Server) -> dict[tuple[str, str], float]:
    """Each number of /metrics, by name and labels as they are written."""
    token = {"Authorization": f"Bearer {os.environ['METRICS_TOKEN']}"}
    answer = httpx2.get(f"{server.url}/metrics", headers=token, timeout=30)
    assert answer.status_code == 200
    found = [_METRIC.fullmatch(line) for line in answer.text.splitlines() if not line.startswith("#")]
    return {(match[1], match[2] or ""): float(match[3]) for match in found if match}
