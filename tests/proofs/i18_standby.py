"""I18, the standby's part: what is answered 2xx is on the standby; while that is away nothing is, and reads go on.

Writers log observations under a client_ref of their own, over HTTP, each on a connection of its own. Everything that
they are told is kept, with its time, and held against the rows of whichever database leads in the end.
"""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2

from tests.proofs.i18_system import Pair
from tests.support.factories import PASSWORD

WRITERS = 24  # more than a web process has threads
ANSWER_SECONDS = 30.0
# The control: what it was before, which waits for the disk of the primary only.
LOCAL_ONLY = """
create or replace function settle(e uuid) returns bigint language sql volatile security definer
set search_path = public, pg_temp as $$
  with flushed as materialized (select pg_logical_emit_message(false, '', '', true))
  select s.seq from flushed, event_seq s where s.event_id = e
$$
"""


@dataclass(frozen=True)
class Told:
    """One answer: to which write (`ref`) or read, when it was asked, how long it took. Status 0: none came."""

    what: str
    begun: float
    seconds: float
    status: int
    retry_after: str | None = None


@dataclass
class Log:
    """All that anybody was told."""

    writes: list[Told] = field(default_factory=list)
    reads: list[Told] = field(default_factory=list)

    def acknowledged(self) -> set[str]:
        return {told.what for told in self.writes if told.status in (200, 201)}


def ask(port: int, key: str, method: str, path: str, body: Any = None) -> tuple[int, str | None, bytes]:
    """One request on a connection of its own; status 0 where no answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "If-None-Match": "*"}
    if method != "PUT":
        del headers["If-None-Match"]
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After"), answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None, b""
    finally:
        connection.close()


def write(pair: Pair, log: Log, key: str, ref: str) -> Told:
    """Log one observation, and keep what was told."""
    begun = time.monotonic()
    body = {"content": ref, "client_ref": ref}
    status, retry, _ = ask(pair.port, key, "POST", "/api/v1/observations", body)
    told = Told(ref, begun, time.monotonic() - begun, status, retry)
    log.writes.append(told)
    return told


@contextmanager
def writers(pair: Pair, log: Log, name: str, many: int = WRITERS, pause: float = 0.02) -> Iterator[None]:
    """Agents that write until the block ends; an answer that is none is not asked for again."""
    stop = threading.Event()

    def run(number: int) -> None:
        for turn in count():
            if stop.is_set():
                return
            write(pair, log, pair.keys[number % len(pair.keys)], f"{name}-{number}-{turn}")
            time.sleep(pause)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


CONFIDENTIAL = "a confidential row"  # whose reading is recorded
READS = ("/api/v1/observations?limit=5", "/api/v1/facts/known", "/api/v1/feed?after=0&limit=5", "/login/")
PROBES = ("/healthz", "/readyz")


@contextmanager
def browser(pair: Pair) -> Iterator[httpx2.Client]:
    """A browser at the sign-in page."""
    with httpx2.Client(base_url=pair.url, timeout=ANSWER_SECONDS) as made:
        made.get("/login/")
        made.headers.update({"X-CSRFToken": made.cookies["csrftoken"], "Origin": pair.url})
        yield made


def sign_in(pair: Pair, client: httpx2.Client) -> int:
    """The status that the person's password is answered with."""
    status = client.post("/login/", data={"username": pair.person, "password": PASSWORD}).status_code
    client.headers.update({"X-CSRFToken": client.cookies["csrftoken"], "Accept": "application/json"})
    return status


def read_for(pair: Pair, log: Log, seconds: float, secret: str) -> None:
    """Ask for everything that must be answered, in turn."""
    deadline = time.monotonic() + seconds
    asked = {path: path for path in (*READS, *PROBES)} | {CONFIDENTIAL: f"/api/v1/observations/{secret}"}
    while time.monotonic() < deadline:
        for what, path in asked.items():
            begun = time.monotonic()
            status, _, _ = ask(pair.port, pair.keys[0], "GET", path)
            log.reads.append(Told(what, begun, time.monotonic() - begun, status))
        time.sleep(0.05)


@dataclass
class Outage:
    """What happened while the standby was away, and how soon the first write was acknowledged after it came back."""

    quiet: Log
    away: Log
    back_seconds: float
    state: dict[str, Any]
    rows: Counter[str]
    retried: Log
    recorded: int  # readings of the confidential row


def outage(pair: Pair, name: str, *, kill: bool, seconds: float) -> Outage:
    """Take the standby away (stopped, or killed) under writers and a reader; bring it back; send again what failed."""
    ask(pair.port, pair.keys[0], "PUT", "/api/v1/facts/known", {"value": 1})
    hidden = {"content": "secret", "sensitivity": "confidential"}
    secret = json.loads(ask(pair.port, pair.keys[1], "POST", "/api/v1/observations", hidden)[2])["id"]
    quiet, away, retried = Log(), Log(), Log()
    time.sleep(1)  # the probes that waited for the start have used up their second
    with writers(pair, quiet, f"{name}-quiet"):  # as many as later, so that the machine's own delay is the same
        read_for(pair, quiet, 2, secret)
    if kill:
        pair.standby.kill()
    else:
        pair.standby.send(signal.SIGSTOP)
    with writers(pair, away, name):
        read_for(pair, away, seconds, secret)
    state = json.loads(ask(pair.port, "", "GET", "/readyz")[2])
    if kill:
        pair.standby.start()
        pair.standby.wait_until_it_confirms(pair.primary)
    else:
        pair.standby.send(signal.SIGCONT)
    begun = time.monotonic()
    while write(pair, retried, pair.keys[0], f"{name}-back").status not in (200, 201):
        assert time.monotonic() < begun + 30, "writes do not come back"
        time.sleep(0.05)
    back = time.monotonic() - begun
    for told in away.writes[:60]:
        write(pair, retried, pair.keys[int(told.what.split("-")[-2]) % len(pair.keys)], told.what)
    recorded = pair.owner(f"select count(*) from access_log where row_id = '{secret}'")
    return Outage(quiet, away, back, state, rows_of(pair, name), retried, recorded)


@dataclass
class Decided:
    """What an agent was told of a decision that was made while the standby was away. `state`: of a plain read.

    `signed_in`: how long the page took to sign people in meanwhile; `repeated`: what a claim, and the
    acknowledgement of another answer, were answered while the first still waited, then that first, and one afterwards.
    """

    decide: int
    told: set[int]
    state: str
    slowest: float
    signed_in: list[float]
    repeated: list[tuple[int, ...]]
    after: dict[str, Any]


def decide_away(pair: Pair) -> Decided:
    """A person decides in the moment in which the standby stops: that stands in the primary, and nobody knows more."""
    key = pair.keys[0]
    ask(pair.port, key, "POST", "/api/v1/tasks", {"key": "decided", "title": "T"})
    asked = {"task": "decided", "reason_code": "other", "reason": "r", "question": "q"}
    row = json.loads(ask(pair.port, key, "POST", "/api/v1/escalations", asked)[2])["id"]
    free, done = (_another(pair, asked | {"task": name}) for name in ("free", "done"))
    told: set[int] = set()
    slowest = 0.0
    with browser(pair) as client, ThreadPoolExecutor(3) as pool:
        sign_in(pair, client)
        assert client.post(f"/escalations/{row}/claim", json={}).status_code == 200
        answer = {"verdict": "respond", "message": "Go on."}
        assert client.post(f"/escalations/{done}/claim", json={}).status_code == 200
        assert client.post(f"/escalations/{done}/decide", json=answer).status_code == 200

        def claim() -> int:
            return client.post(f"/escalations/{free}/claim", json={}).status_code

        def acknowledge() -> int:
            return ask(pair.port, key, "POST", f"/api/v1/escalations/{done}/acknowledge")[0]

        pair.standby.send(signal.SIGSTOP)
        body = {"verdict": "respond", "message": "Yes."}
        decided = pool.submit(lambda: client.post(f"/escalations/{row}/decide", json=body).status_code)
        first = [pool.submit(one) for one in (claim, acknowledge)]
        time.sleep(0.3)
        repeated = [(claim(), acknowledge())]
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            begun = time.monotonic()
            told.add(ask(pair.port, key, "GET", f"/api/v1/escalations/{row}/answer")[0])
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.05)
        signed_in = []
        for _ in range(3):
            with browser(pair) as other:
                begun = time.monotonic()
                assert sign_in(pair, other) == 302
                signed_in.append(time.monotonic() - begun)
                assert other.get("/").status_code == 200
        state = json.loads(ask(pair.port, key, "GET", f"/api/v1/escalations/{row}")[2])["state"]
        pair.standby.send(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while (answer := ask(pair.port, key, "GET", f"/api/v1/escalations/{row}/answer"))[0] != 200:
            assert time.monotonic() < deadline, "the answer does not come"
            time.sleep(0.05)
        repeated += [tuple(one.result() for one in first), (claim(), acknowledge())]
        return Decided(decided.result(), told, state, slowest, signed_in, repeated, json.loads(answer[2]))


def _another(pair: Pair, asked: dict[str, Any]) -> str:
    """An escalation of a task of its own."""
    ask(pair.port, pair.keys[0], "POST", "/api/v1/tasks", {"key": asked["task"], "title": "T"})
    return str(json.loads(ask(pair.port, pair.keys[0], "POST", "/api/v1/escalations", asked)[2])["id"])


def rows_of(pair: Pair, name: str) -> Counter[str]:
    """How often each ref of these writers has a row, where the primary is now."""
    found = pair.owner(
        "select coalesce(jsonb_object_agg(client_ref, many), '{}') from (select client_ref, count(*) many"
        f" from observation where client_ref like '{name}-%' group by client_ref) r"
    )
    return Counter(found)


@dataclass
class Failovers:
    """`lost`: acknowledged, and gone."""

    kills: int
    acknowledged: int
    lost: list[str]
    twice: list[str]


def fail_over(pair: Pair, name: str, *, kills: int) -> Failovers:
    """Kill the primary under writers and promote its standby, again and again; each second time what sends it the log
    has stood still for a moment, so that the standby lags.
    """
    dice, log, lost = random.Random(kills), Log(), set[str]()
    for number in range(kills):
        with writers(pair, log, f"{name}-{number}", many=6, pause=0):
            time.sleep(0.3 + dice.random() * 0.4)
            if number % 2 == 0:
                # Not the standby: what was sent to it waits in its socket, and is not lost.
                os.kill(pair.primary.ask("select pid from pg_stat_replication"), signal.SIGSTOP)
                time.sleep(0.3)
            pair.fail_over()
        pair.wait_until_ready()
        lost |= log.acknowledged() - set(rows_of(pair, name))
    twice = [ref for ref, many in rows_of(pair, name).items() if many > 1]
    return Failovers(kills, len(log.acknowledged()), sorted(lost), twice)
