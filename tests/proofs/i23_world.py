"""The product over a PostgreSQL whose history changes, for I23: two teams, and a web process that stays."""

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from memoryhub.run import embedded, processes
from memoryhub.run.launch import web_command
from tests.proofs.i23_servers import SECONDS, Lab
from tests.support.servers import free_port, started


@dataclass
class World:
    """The product over the lab, and its clients' credentials."""

    lab: Lab
    url: str
    made: dict[str, Any]
    agent: httpx2.Client
    calm: httpx2.Client

    def send(
        self, method: str, path: str, body: Any = None, *, as_calm: bool = False, **headers: str
    ) -> httpx2.Response:
        """A request, again and again while the database is away."""
        client, deadline = self.calm if as_calm else self.agent, time.monotonic() + SECONDS
        while True:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            reply = client.request(method, f"/api/v1/{path}", json=body, headers=sent)
            if reply.status_code < 500:
                return reply
            assert time.monotonic() < deadline, reply.text
            time.sleep(0.1)

    def log(self, count: int) -> None:
        """So many observations, an event each."""
        for number in range(count):
            self.send("POST", "observations", {"content": f"n{number}", "task": "t"}).raise_for_status()

    def heads(self) -> tuple[int, list[int]]:
        """The last number of the ledger, and those of the events that the clients hear."""
        with self.lab.sql() as owner:
            rows = owner.execute(
                "select s.seq, e.type = 'observation.log' from event_seq s join event e on e.id = s.event_id"
                " where s.team_id = %s order by s.seq",
                [self.made["id"]],
            ).fetchall()
        return rows[-1][0], [seq for seq, is_heard in rows if is_heard]


@contextmanager
def world(name: str) -> Iterator[World]:
    """A cluster with a copy of the tests' migrated database, two teams in it, and a web process."""
    data = Path(os.environ["MEMORYHUB_DATA"]) / f"{name}-{os.environ['REDIS_PREFIX']}"
    data.mkdir(mode=0o700, exist_ok=True)
    embedded.remove(data)
    lab = Lab(data)
    try:
        lab.environment = {
            **os.environ,
            processes.MARK: str(data),
            "MEMORYHUB_DATA": str(data),
            "REDIS_PREFIX": name,
            "SECRET_KEY": secrets.token_urlsafe(48),
            "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        lab.start(lab.serving)
        template = os.environ["DATABASE_OWNER_URL"].rpartition("/")[0] + f"/{embedded.DATABASE}"
        lab.dump(template, data / "empty.dump")
        lab.restore(data / "empty.dump", lab.port)
        with lab.sql() as owner:  # it has known no other cluster
            owner.execute(
                "update ledger_life set system = (select system_identifier from pg_control_system())"
                " || '/' || 'public.event'::regclass::oid"
            )
        lab.manage("-m", "memoryhub.config.prepare", "--empty")
        made = json.loads(lab.manage("-m", "tests.proofs.i23_team").splitlines()[-1])
        port = free_port()
        urls = {"DATABASE_URL": lab.url(embedded.APP, lab.port), "DATABASE_OWNER_URL": lab.owner_url}
        environment = {**lab.environment, **urls}
        url = f"http://127.0.0.1:{port}"
        ready = lambda _: is_ready(url)  # noqa: E731
        with started(f"{name}-web", web_command(port), ready, environment=environment, seconds=SECONDS):
            clients = [
                httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {made[key]}"}, timeout=SECONDS)
                for key in ("key", "calm")
            ]
            found = World(lab, url, made, *clients)
            for calm in (False, True):
                found.send("POST", "tasks", {"key": "t", "title": "T"}, as_calm=calm).raise_for_status()
            yield found
            for client in clients:
                client.close()
    finally:
        lab.end()


def is_ready(url: str) -> bool:
    """Whether the web process serves."""
    with suppress(httpx2.HTTPError):
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    return False
