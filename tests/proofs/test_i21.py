"""I21, short in every test run (three of the attacks), all of them at ten times the size seen by `make prove`."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx2
import pytest

from agents.models import Scope
from memoryhub.core.models import Team
from tests.proofs.i21_neighbours import SHORT_FLOOR_SECONDS, Job, Memory, Seen, Victims, run
from tests.support.factories import TestAgent, make_agent, make_person, make_team
from tests.support.raw_http import head
from tests.support.signing_in import sign_in
from tests.support.web import APPLICATION, Server, memory_of, web

pytestmark = [pytest.mark.prove, pytest.mark.alone]
SOURCES = ("127.0.0.2", "127.0.0.1")
SHORT = ("idle", "unread", "reads")
FILES = 1024
SECONDS, SHORT_SECONDS = 10.0, 3.0  # a control is given the whole time: what it is to show takes some


@dataclass(frozen=True)
class World:
    """The server under attack, with victims, and a neighbour of another team."""

    server: Server
    victims: Victims
    team: Team
    neighbour: TestAgent
    session: str


def world_of(server: Server) -> World:
    team, other = make_team("victims"), make_team("neighbours")
    agent, neighbour = make_agent(team), make_agent(other, scopes=frozenset(Scope))
    for number in range(20):
        answer = httpx2.post(
            f"{server.url}/api/v1/tasks", json={"key": f"t{number}", "title": "t"}, headers=agent.headers, timeout=30
        )
        assert answer.status_code == 201
    session = sign_in(make_person(team))
    victims = Victims(server.url, agent.key, session, Memory(partial(memory_of, server)))
    return World(server, victims, other, neighbour, sign_in(make_person(other)))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with web("neighbours", files=FILES) as server:
        yield world_of(server)


def sent(world: World, method: str, path: str, body: Any = None, *more: str, key: bool = True) -> str:
    """A request in hex."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"Authorization: Bearer {world.neighbour.key}"] if key else []
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return (head(method, path, *lines, *more) + content).hex()


def idle(world: World) -> Job:
    return Job("hold", 11_000, [""])


def connects(world: World) -> Job:
    return Job("connect", 2_000, [""])


def slow_heads(world: World) -> Job:
    return Job("hold", 2_000, [b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-A".hex()])


def headers(world: World) -> Job:
    start = b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    return Job("pour", 20, [start.hex()], more=(b"x" * 65536).hex())


def large_rows(world: World) -> None:
    """As much as one page may have."""
    url, row = f"{world.server.url}/api/v1/observations", {"content": "x" * 250_000}
    for _ in range(30):
        assert httpx2.post(url, json=row, headers=world.neighbour.headers, timeout=30).status_code == 201


def unread(world: World) -> Job:
    large_rows(world)
    return Job("unread", 300, [sent(world, "GET", "/api/v1/observations?limit=100")])


def reads(world: World) -> Job:
    large_rows(world)
    return Job("flood", 320, [sent(world, "GET", "/api/v1/observations?limit=1")])


def large_reads(world: World) -> Job:
    large_rows(world)
    return Job("flood", 300, [sent(world, "GET", "/api/v1/observations?limit=100")])


def feeds(world: World) -> Job:
    """As many events as a cursor may be behind, all read and none of them shown."""
    url, headers = f"{world.server.url}/api/v1", world.neighbour.headers
    with httpx2.Client(headers=headers, timeout=30) as client, ThreadPoolExecutor(8) as pool:
        before = client.get(f"{url}/feed").json()["next"]
        made = pool.map(lambda _: client.post(f"{url}/observations", json={"content": "x"}).status_code, range(9_900))
        assert set(made) == {201}
    return Job("flood", 320, [sent(world, "GET", f"/api/v1/feed?after={before}&types=zzz&limit=100")])


def sign_ins(world: World) -> Job:
    token = "a" * 32
    made = []
    for number in range(240):
        form = f"csrfmiddlewaretoken={token}&username=nobody{number}&password=wrong".encode()
        lines = (f"Cookie: csrftoken={token}", "Content-Type: application/x-www-form-urlencoded")
        made.append((head("POST", "/login/", *lines, f"Content-Length: {len(form)}") + form).hex())
    return Job("flood", 240, made)


def uploads(world: World) -> Job:
    whole = len(sent(world, "POST", "/api/v1/observations/batch", b"[" * 8_000_000)) // 2
    part = bytes.fromhex(sent(world, "POST", "/api/v1/observations/batch", b"[" * 8_000_000))[: whole - 7_000_000]
    without = bytes.fromhex(sent(world, "POST", "/api/v1/observations/batch", b"[" * 8_000_000, key=False))[:70_000]
    return Job("hold", 180, [part.hex(), without.hex()])


def waiters(world: World) -> Job:
    runs = [
        {"messages": [{"role": "user", "content": f"{number} {index}"} for index in range(100)]}
        for number in range(100)
    ]
    return Job(
        "flood", 180, [sent(world, "POST", "/api/v1/import/trajectories", {"runs": runs}, "Idempotency-Key: one")]
    )


def sockets(world: World) -> Job:
    nonce = base64.b64encode(os.urandom(16)).decode()
    port = world.server.url.rsplit(":", 1)[1]
    lines = (
        *(f"Cookie: sessionid={world.session}", f"Origin: http://127.0.0.1:{port}", "Upgrade: websocket"),
        *("Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {nonce}"),
    )
    request = head("GET", f"/ws/t/{world.team.slug}/queue/", *lines).replace(b"localhost", f"127.0.0.1:{port}".encode())
    return Job("hold", 3_000, [request.hex()])


def schemas(world: World) -> Job:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "array", "uniqueItems": True} for n in range(400)}}
    nested: Any = {"type": "string"}
    for _ in range(12):
        nested = {"anyOf": [nested, nested]}
    made = []
    for number, costly in enumerate((schema, nested)):
        world_key = f"s{number}"
        httpx2.post(
            f"{world.server.url}/api/v1/tasks",
            json={"key": world_key, "title": "t"},
            headers=world.neighbour.headers,
            timeout=30,
        )
        arguments = {f"p{n}": [[index] for index in range(40)] for n in range(400)}
        action = {"name": "x", "arguments": arguments, "schema": costly}
        asked = {
            "task": world_key,
            "reason_code": "other",
            "reason": "r",
            "question": "q",
            "action": action,
            "allowed": ["edit"],
        }
        made.append(sent(world, "POST", "/api/v1/escalations", asked))
    return Job("flood", 30, made)


def labels(world: World) -> Job:
    return Job(
        "flood",
        32,
        [
            sent(
                world,
                "POST",
                "/api/v1/observations",
                {"content": 1, "compartments": [f"c{number % 64}", f"d{number // 64}"]},
            )
            for number in range(1000)
        ],
    )


def escalations(world: World) -> Job:
    made = []
    for number in range(200):
        with_task = {"key": f"e{number}", "title": "t"}
        httpx2.post(f"{world.server.url}/api/v1/tasks", json=with_task, headers=world.neighbour.headers, timeout=30)
        asked = {"task": f"e{number}", "reason_code": "other", "reason": "r", "question": "q", "priority": "urgent"}
        made.append(sent(world, "POST", "/api/v1/escalations", asked))
    return Job("flood", 200, made)


def readyz(world: World) -> Job:
    return Job("flood", 320, [sent(world, "GET", "/readyz", key=False)])


ATTACKS: dict[str, Callable[[World], Job]] = {
    made.__name__: made
    for made in (
        *(idle, connects, slow_heads, headers, unread, reads, large_reads, feeds, sign_ins, uploads, waiters, sockets),
        *(schemas, labels, escalations, readyz),
    )
}


def attack(world: World, name: str, source: str, full: bool, *, seconds: float) -> Seen:
    job = ATTACKS[name](world)
    size = job.connections if full else min(job.connections, 1_100)
    seen = run(world.victims, replace(job, connections=size, source=source), seconds)
    print(f"I21 {name} from {source}: {seen}")
    return seen


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_bad_neighbour_is_only_bad_for_itself(world: World, name: str, source: str, full: bool) -> None:
    if not full and (name not in SHORT or source != SOURCES[SHORT.index(name) % 2]):
        pytest.skip("in `make prove`")
    seen = attack(world, name, source, full, seconds=SECONDS if full else SHORT_SECONDS)
    assert seen.faults(*[] if full else [SHORT_FLOOR_SECONDS]) == []


NO_SIGNIN_BOUNDS = {
    "IN_FLIGHT_PER_ADDRESS": "10000",
    "SIGNIN_FREE_BY_ADDRESS": "100000",
    **{f"SIGNIN_FREE_BY_{what}": "1000" for what in ("NAME", "BOTH")},
}


@pytest.mark.parametrize(
    ("name", "application", "without", "told"),
    [
        ("unread", APPLICATION, {"UNSENT_BYTES": str(16 << 30), "SEND_SECONDS": "600"}, "memory grew"),
        ("sign_ins", "tests.proofs.i21_control:application", NO_SIGNIN_BOUNDS, "p95"),
    ],
)
def test_without_its_bound_the_harness_sees_it(
    name: str, application: str, without: dict[str, str], told: str, full: bool
) -> None:
    """The controls."""
    if not full and name != "unread":
        pytest.skip("in `make prove`")
    environment = {**without, "RATE_LIMIT_PER_MINUTE": "0"}
    with web("unbounded", environment=environment, application=application) as server:
        faults = attack(world_of(server), name, SOURCES[0], full, seconds=SECONDS).faults()
    assert any(told in fault for fault in faults), faults
