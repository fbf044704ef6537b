"""`/healthz` and `/readyz`: what they tell, what they cost, and that nothing keeps them waiting."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psutil
import psycopg

from tests.support.servers import Process
from tests.support.web import Server

SILENT = "silent since 20"


def state(server: Server) -> dict[str, Any]:
    answer = httpx2.get(f"{server.url}/readyz", timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for(server: Server, worker: str) -> dict[str, Any]:
    """The state as soon as it tells this of the worker."""
    deadline = time.monotonic() + 60
    while not (found := state(server))["worker"].startswith(worker):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_many_who_ask_whether_it_is_ready_cost_a_few_looks(server: Server, owner_sql: Any) -> None:
    """Before the others of this file, whose worker asks the database, too."""

    def transactions() -> int:
        time.sleep(1.2)  # until everybody has told what they did
        counted = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        return int(owner_sql.execute(counted).fetchone()[0])

    before, deadline = transactions(), time.monotonic() + 60
    while (now := transactions()) - before > 50:
        assert time.monotonic() < deadline, "others do not leave the database in peace"
        before = now
    with ThreadPoolExecutor(64) as pool, httpx2.Client(timeout=30) as client:
        answers = list(pool.map(lambda _: client.get(f"{server.url}/readyz"), range(800)))
    assert {answer.status_code for answer in answers} == {200}
    assert transactions() - now < 200, "each call asks the database"


def test_a_worker_that_stops_is_told_to_be_silent_and_nothing_else_changes(server: Server, worker: Process) -> None:
    assert wait_for(server, "ok") == {"status": "ready", "database": "ok", "valkey": "ok", "worker": "ok"}
    stopped = [psutil.Process(worker.popen.pid), *psutil.Process(worker.popen.pid).children(recursive=True)]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        found = wait_for(server, SILENT)
        assert {**found, "worker": ""} == {"status": "ready", "database": "ok", "valkey": "ok", "worker": ""}
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
    wait_for(server, "ok")


def test_probes_are_answered_while_every_thread_of_the_process_waits(server: Server) -> None:
    """Pages that wait for a locked table take all threads; whoever watches the process must not think it dead."""
    lock = "begin; lock table django_session in access exclusive mode"
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner, ThreadPoolExecutor(40) as pool:
        owner.execute(lock)
        cookies = {"sessionid": "x" * 32}
        waiting = [
            pool.submit(httpx2.get, f"{server.url}/", cookies=cookies, timeout=60, follow_redirects=True)
            for _ in range(40)
        ]
        time.sleep(1)
        try:
            assert not any(one.done() for one in waiting), "the control: nobody waits, so nothing is shown"
            for path in ("/healthz", "/readyz"):
                begun = time.monotonic()
                assert httpx2.get(f"{server.url}{path}", timeout=30).status_code == 200
                assert time.monotonic() - begun < 3, f"{path} waits behind requests"
        finally:
            owner.execute("rollback")
        # Some have waited in vain for a place in the queue (IN_FLIGHT_PER_ADDRESS and its kin).
        assert {one.result().status_code for one in waiting} <= {200, 429}


def test_probes_refuse_what_is_no_reading_and_have_a_request_id(server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        answer = httpx2.delete(f"{server.url}{path}", headers={"X-Request-Id": "asked-by-me"}, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["x-request-id"] == "asked-by-me"
        assert httpx2.head(f"{server.url}{path}", timeout=30).content == b""
