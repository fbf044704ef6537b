"""Plans made while a table was small are kept while it grows (short in `make test`, 20,000 writes in `make prove`)."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg
import pytest

from memoryhub.core.access.rls import team_as_filter
from memoryhub.run import embedded
from memoryhub.run.launch import beat_command, web_command, worker_command
from tests.support import servers

pytestmark = pytest.mark.prove
core, memory, escalations = (
    import_module(f"{app}.migrations.{number}_policies_choose_no_index")
    for app, number in (("memoryhub.core", "0012"), ("memoryhub.memory", "0012"), ("escalations", "0009"))
)

WRITERS = 6
# Of every table that has grown: its rows, those read from end to end, and those that a busy index gave at each look.
_SCANS = """
select t.relname, t.n_live_tup, t.seq_tup_read, coalesce((
    select max(i.idx_tup_read / i.idx_scan) from pg_stat_user_indexes i
    where i.relid = t.relid and i.idx_scan > t.n_live_tup / 2), 0)::int
from pg_stat_user_tables t
where t.n_live_tup >= %s and t.relname not like 'django_%%' and t.relname not like 'auth_%%'
"""
# An index that is asked as often as rows are written finds single rows, or a page of them.
MOST_A_LOOK = 30
READS = (
    *(
        "observations",
        "observations?task=t-1",
        "decisions",
        "decisions?task=t-1",
        "facts",
        "facts/f-1",
        "facts/f-1/history",
    ),
    *(
        "tasks",
        "tasks/t-1",
        "tasks/t-1/context",
        "learnings",
        "alerts",
        "escalations",
        "search?q=order",
        "feed?after=0",
    ),
    *("observations?tags=a", "tasks?status=open", "facts?task=t-1", "me"),
)


@contextmanager
def fresh_system(
    name: str, application: str, *, full: bool
) -> Iterator[tuple[str, list[str], psycopg.Connection[Any]]]:
    """A database in which nothing is ever analysed, a web process on it; its address, keys, and the owner."""
    environment = {
        variable: urlunsplit(urlsplit(os.environ[variable])._replace(path=f"/{name}"))
        for variable in ("DATABASE_URL", "DATABASE_OWNER_URL")
    } | {"REDIS_PREFIX": name}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname="postgres", autocommit=True) as maker:
        maker.execute(f"create database {name} template {embedded.DATABASE}")
        try:
            with psycopg.connect(environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
                tables = owner.execute("select relname from pg_stat_user_tables").fetchall()
                for (table,) in tables:
                    owner.execute(f'alter table "{table}" set (autovacuum_enabled = off)')
                team = [servers.sys.executable, "-m", "tests.proofs.i01_team"]
                keys = servers.subprocess.run(
                    team,
                    env={**os.environ, **environment},
                    cwd=servers.ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()
                port = servers.free_port()
                command = [application if word.endswith(":application") else word for word in web_command(port)]
                url = f"http://127.0.0.1:{port}"
                ready = lambda _: servers.answers(f"{url}/readyz")  # noqa: E731
                with servers.started(name, command, ready, environment=environment):
                    if full:
                        data = servers.Path(os.environ["MEMORYHUB_DATA"]) / name
                        data.mkdir(exist_ok=True)
                        background = {f"{name}-worker": worker_command(), f"{name}-beat": beat_command(data)}
                        with (
                            servers.started(
                                f"{name}-w", background[f"{name}-worker"], lambda _: True, environment=environment
                            ),
                            servers.started(
                                f"{name}-b", background[f"{name}-beat"], lambda _: True, environment=environment
                            ),
                        ):
                            yield url, keys, owner
                    else:
                        yield url, keys, owner
        finally:
            servers.drop_database(maker, name)


def write(client: httpx2.Client, number: int) -> int:
    """One write of a kind that the number chooses; every kind comes soon."""
    task = f"t-{number % 7}"
    kind = number % 10
    if kind == 0:
        sent = client.post("tasks", json={"key": f"t-{number}", "title": "Order"})
    elif kind == 1:
        body = {"task": "t-1", "decision": {"do": number}, "reasoning": "It was due.", "client_ref": f"d{number}"}
        sent = client.post("decisions", json=body)
    elif kind == 2:
        sent = client.put(f"facts/f-{number}", json={"value": number}, headers={"If-None-Match": "*"})
    elif kind == 3:
        body = {"insight": f"Order {number}", "severity": "info", "to": "all", "client_ref": f"a{number}"}
        sent = client.post("alerts", json=body)
    elif kind == 4:
        body = {"signal_type": "success", "details": {"n": number}, "context": {"kind": "order"}}
        sent = client.post("learnings", json=body)
    else:
        body = {"content": f"order {number} was seen", "client_ref": f"o{number}", "tags": ["a"]}
        headers = {"Idempotency-Key": f"k{number}"} if kind == 5 else {}
        sent = client.post("observations", json={**body, "task": task}, headers=headers)
    return sent.status_code


def use(url: str, keys: list[str], owner: psycopg.Connection[Any], writes: int, known: str) -> set[tuple[str, int]]:
    """Make plans while all is small, let it grow, and read everything; what was answered of reads.

    `known`: whether PostgreSQL knows the tables "empty" or "small".
    """
    numbers = count(100)
    statuses: list[int] = []

    def run(key: str) -> None:
        with httpx2.Client(base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            for number in numbers:
                if number >= writes:
                    return
                statuses.append(write(client, number))
                if number % 50 == 0:
                    client.get(READS[number // 50 % len(READS)])

    with httpx2.Client(base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {keys[0]}"}, timeout=60) as client:
        if known == "empty":  # as autovacuum leaves them
            owner.execute("vacuum analyze")
        for number in range(7):
            client.post("tasks", json={"key": f"t-{number}", "title": "Order"})
        client.put("facts/f-1", json={"value": 1}, headers={"If-None-Match": "*"})
        statuses += [write(client, number) for number in range(10, 40)]
        if known == "small":
            owner.execute("analyze")  # as autovacuum may do in the first minute, and not again before the next
        for _ in range(6):  # until PostgreSQL may keep a plan
            for path in READS:
                client.get(path)
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(run, keys[:WRITERS]))
        assert set(statuses) == {201}
        # The feed's beginning is too far behind by then.
        head = client.get("feed").json()["next"]
        paths = [path.replace("after=0", f"after={max(0, head - 9_000)}") for path in READS]
        return {(path, client.get(path).status_code) for path in paths for _ in range(3)}


def scans(owner: psycopg.Connection[Any], rows: int) -> dict[str, tuple[int, int, int]]:
    """Of each table that has grown: its rows, those read from end to end, and those that an index gave at each look."""
    owner.execute("select pg_sleep(1.5)")  # until all sessions have told
    return {name: (live, read, given) for name, live, read, given in owner.execute(_SCANS, [rows]).fetchall()}


def faults(found: dict[str, tuple[int, int, int]]) -> list[str]:
    """Which tables were read from end to end, as they are or by an index."""
    read = [f"{name}: {read} rows of {live}" for name, (live, read, _) in found.items() if read > live]
    return read + [f"{name}: {given} rows a look" for name, (*_, given) in found.items() if given > MOST_A_LOOK]


@pytest.mark.parametrize("known", ["empty", "small"])
def test_no_table_that_grows_is_read_from_end_to_end_without_statistics(known: str, full: bool) -> None:
    writes = 20_000 if full else 700
    with fresh_system(f"plans_{known}", "memoryhub.config.asgi:application", full=full) as (url, keys, owner):
        answered = use(url, keys, owner, writes, known)
        found = scans(owner, writes // 20)
        print("rows, read from end to end, an index gave a look:", found)
    assert {status for _, status in answered} == {200}, answered
    assert {"event", "event_seq", "observation"} <= set(found)
    assert faults(found) == []


@pytest.mark.parametrize(("known", "told"), [("empty", "a look"), ("small", "rows of")])
def test_the_proof_of_plans_sees_early_ones(known: str, told: str) -> None:
    """The control: sessions that keep their plans, find an index on the team in each policy, and may scan ("small")."""
    with fresh_system(f"plans_{known}_control", "tests.proofs.plans_control:application", full=False) as made:
        url, keys, owner = made
        for tables in (core.TABLES, memory.TABLES, escalations.TABLES):
            owner.execute(team_as_filter(*tables).reverse_sql)
        if known == "empty":
            owner.execute(f"alter database plans_{known}_control set enable_seqscan = off")
        use(url, keys, owner, 700, known)
        found = scans(owner, 30)
        print("control:", found)
    assert any(told in fault for fault in faults(found)), found
