"""A team's data key is erased while everybody works: no process uses it two seconds later, and all use a new one."""

import base64
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from memoryhub.core.access.labels import ensure_label
from memoryhub.core.ids import new_id
from memoryhub.core.models import Sensitivity
from memoryhub.core.secrecy import sealing
from memoryhub.core.secrecy.sealing import text_columns, unseal
from memoryhub.core.transactions import viewer_transaction
from tests.support.desk_world import JSON, browser_of, make_desk, post
from tests.support.factories import make_agent, make_person, make_team, unique
from tests.support.servers import ROOT
from tests.support.timing import wait_until
from tests.support.web import Server, web

TITLE = "The confidential word Xylophone"
LATEST = 2.0  # seconds until an erased key, or a new one, is so everywhere


@pytest.fixture
def second() -> Iterator[Server]:
    with web("web-keys") as server:
        yield server


class Traffic:
    """Writes and reads of confidential memory at every process, each with when it was sent and what was answered."""

    def __init__(self, servers: list[Server], key: str) -> None:
        self.seen: list[tuple[float, str, int, Any]] = []
        self._over = threading.Event()
        self.key = key
        self._threads = [
            threading.Thread(target=self._run, args=(server.url, verb))
            for server in servers
            for verb in ("POST", "GET")
        ]

    def _run(self, url: str, verb: str) -> None:
        with httpx2.Client(
            base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        ) as api:
            while not self._over.is_set():
                sent = time.monotonic()
                if verb == "POST":
                    body = {"task": "t", "content": TITLE, "sensitivity": "confidential"}
                    answer = api.post("observations", json=body)
                    self.seen.append((sent, verb, answer.status_code, answer.json().get("id")))
                else:
                    answer = api.get("tasks/t")
                    self.seen.append((sent, verb, answer.status_code, answer.json().get("title")))
                time.sleep(0.02)

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def after(self, moment: float, verb: str) -> Counter[tuple[int, Any]]:
        """What was sent more than two seconds after the moment: status, and the title that was read."""
        found = [one for one in list(self.seen) if one[0] > moment + LATEST and one[1] == verb]
        return Counter((status, what if verb == "GET" else None) for _, _, status, what in found)


def command(*words: str, typed: str = "", **environment: str) -> str:
    arguments, there = [sys.executable, "manage.py", *words], {**os.environ, **environment}
    done = subprocess.run(arguments, cwd=ROOT, env=there, input=typed, text=True, capture_output=True)
    return done.stderr if done.returncode == 0 else f"refused: {done.stderr}"


def sealed_by(owner_sql: psycopg.Connection[Any], team: int) -> Counter[int]:
    """How many observations each data key has sealed, by the id in what is sealed."""
    rows = owner_sql.execute("select sealed from observation where team_id = %s", [team]).fetchall()
    return Counter(int.from_bytes(bytes(sealed)[1:5]) for (sealed,) in rows)


@pytest.mark.usefixtures("worker")
def test_an_erased_key_and_a_new_one_are_so_in_every_running_process_within_two_seconds(
    server: Server, second: Server, owner_sql: psycopg.Connection[Any]
) -> None:
    team = make_team("keys")
    agent = make_agent(team, Sensitivity.CONFIDENTIAL)
    ((old,),) = owner_sql.execute("select id from team_key where team_id = %s", [team.id]).fetchall()
    api = httpx2.Client(base_url=f"{server.url}/api/v1/", headers=agent.headers, timeout=30)
    task = {"key": "t", "title": TITLE, "sensitivity": "confidential"}
    assert api.post("tasks", json=task).status_code == 201

    def hits() -> int:
        return len(api.get("search", params={"q": "Xylophone"}).json()["results"])

    with Traffic([server, second], agent.key) as traffic:
        wait_until(lambda: hits() > 0, 30)  # the worker seals words by the key, too
        assert traffic.after(time.monotonic() - 60, "GET")[200, TITLE] > 0
        begun = time.monotonic()
        owner_sql.execute("delete from team_key where id = %s", [old])
        erased, rows = time.monotonic(), sealed_by(owner_sql, team.id)[old]
        time.sleep(LATEST + 2)
        assert hits() == 0
        pages = ["tasks/t", "tasks", "tasks/t/context", "observations", "search?q=Xylophone", "feed", "learnings"]
        statuses = {page: api.get(page).status_code for page in pages}
        assert set(statuses.values()) == {200}, statuses
        renewed_from = time.monotonic()
        wait_until(lambda: len(traffic.seen) and traffic.after(erased, "POST").total() >= 4, 30)
        reads, writes = traffic.after(erased, "GET"), traffic.after(erased, "POST")
        assert set(reads) == {(200, "")}, reads
        assert set(writes) == {(503, None)}, writes
        # In the instant of erasing, a write that had begun may still be sealed by it: never one that began after.
        late = [what for sent, verb, status, what in traffic.seen if verb == "POST" and status == 201 and sent > erased]
        assert late == []
        assert sealed_by(owner_sql, team.id)[old] - rows <= 2

        done = command("erase_team_key", "--team", team.slug, "--renew", typed=f"{team.slug}\n")
        assert "It has a new one" in done
        renewed = time.monotonic()
        time.sleep(LATEST + 1)
        wait_until(lambda: traffic.after(renewed, "POST").total() >= 4, 30)
        writes = traffic.after(renewed, "POST")
        assert set(writes) == {(201, None)}, writes
        wait_until(lambda: hits() > 0, 30)
    assert renewed_from > begun
    assert {status for _, _, status, _ in traffic.seen} <= {200, 201, 503}
    ((new,),) = owner_sql.execute("select id from team_key where team_id = %s", [team.id]).fetchall()
    assert set(sealed_by(owner_sql, team.id)) == {old, new}


def test_erasing_needs_the_owners_login_and_the_teams_name_typed(owner_sql: psycopg.Connection[Any]) -> None:
    team = make_team("keys")
    assert "Nothing was erased" in command("erase_team_key", "--team", team.slug, typed="yes\n")
    owner = os.environ.pop("DATABASE_OWNER_URL")
    try:
        assert "set DATABASE_OWNER_URL" in command("erase_team_key", "--team", team.slug, typed=f"{team.slug}\n")
    finally:
        os.environ["DATABASE_OWNER_URL"] = owner
    assert owner_sql.execute("select count(*) from team_key where team_id = %s", [team.id]).fetchall() == [(1,)]
    assert "1 data keys" in command("erase_team_key", "--team", team.slug, typed=f"{team.slug}\n")
    assert owner_sql.execute("select count(*) from team_key where team_id = %s", [team.id]).fetchall() == [(0,)]
    erased = "select count(*) from event where type = 'team.erase_keys' and data ->> 'team' = %s"
    assert owner_sql.execute(erased, [team.slug]).fetchall() == [(1,)]


def test_what_an_erased_key_sealed_is_shown_as_unavailable_on_every_page_and_its_verbs_are_no_500(
    owner_sql: psycopg.Connection[Any],
) -> None:
    desk = make_desk()
    chief = make_person(desk.team, "admin", Sensitivity.CONFIDENTIAL, is_staff=True)
    agent = make_agent(desk.team, Sensitivity.CONFIDENTIAL)
    made = desk.escalate(agent=agent, sensitivity=Sensitivity.CONFIDENTIAL, compartments=[])
    client, case = browser_of(chief), f"/escalations/{made.id}/"
    pages = ["/", case, f"{case}panel/", f"{case}timeline/", f"/admin/escalations/escalation/{made.id}/change/"]
    assert "It is above my limit" in client.get(case).text
    owner_sql.execute("delete from team_key where team_id = %s", [desk.team.id])
    sealing.forget_keys()
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert "It is above my limit" not in answer.text
    assert post(client, f"{case}claim", b"{}", **JSON).status_code == 200
    for verb, body in (("decide", b'{"verdict": "respond", "message": "x"}'), ("note", b'{"text": "x"}')):
        answer = post(client, f"{case}{verb}", body, **JSON)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), verb
    assert client.get(case).status_code == 200


def test_a_new_master_key_wraps_what_the_old_one_wrapped_and_the_old_one_can_go(
    owner_sql: psycopg.Connection[Any], settings: Any
) -> None:
    team, masters = make_team("keys"), settings.MASTER_KEYS
    viewer, row = make_agent(team, Sensitivity.CONFIDENTIAL).viewer, new_id()
    with viewer_transaction(viewer):
        label = ensure_label(viewer, Sensitivity.CONFIDENTIAL)
        sealed = text_columns("task", row, label, {"title": TITLE})["sealed"]
    name, anew = unique("m"), AESGCM.generate_key(256)
    settings.MASTER_KEYS = {name: anew, **masters}
    before = owner_sql.execute("select id, master, wrapped from team_key").fetchall()
    entries = [f"{key}:{base64.b64encode(value).decode()}" for key, value in settings.MASTER_KEYS.items()]
    try:
        done = command("rewrap_team_keys", MASTER_KEY=",".join(entries))
        assert f"{len(before)} data keys are wrapped anew" in done
        assert "0 data keys" in command("rewrap_team_keys", MASTER_KEY=",".join(entries))
        settings.MASTER_KEYS = {name: anew}  # the old one is put away
        sealing.forget_keys()
        with viewer_transaction(viewer, read_only=True):
            assert unseal("task", row, label.id, sealed, 1) == {"title": TITLE}
    finally:
        for key, master, wrapped in before:
            owner_sql.execute("update team_key set master = %s, wrapped = %s where id = %s", [master, wrapped, key])
        sealing.forget_keys()
