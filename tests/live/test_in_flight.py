"""I21: requests under way are counted by key, session and address, before a thread is taken; who has left is let go."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx2
import orjson
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from agents.models import DEFAULT_SCOPES
from memoryhub.core.ids import new_id
from tests.support.desk_socket import close_code, open_socket
from tests.support.factories import Person, TestAgent, make_agent, make_person, make_team
from tests.support.raw_http import connected, head, key, read_one
from tests.support.signing_in import post_login, sign_in
from tests.support.timing import wait_until
from tests.support.web import Server, web

WAITING = (
    "select count(distinct pid) from pg_locks join pg_stat_activity using (pid)"
    " where not granted and datname = current_database() and application_name = 'memoryhub'"  # of web processes
)


@pytest.fixture
def agent() -> TestAgent:
    return make_agent(make_team("flight"))


@contextmanager
def held(statement: str, params: tuple[object, ...] = ()) -> Iterator[psycopg.Connection]:
    """A statement whose locks are held for the block: what needs them waits in the database."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        owner.execute(statement, params)
        yield owner
        owner.rollback()


def waiting() -> int:
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        found = owner.execute(WAITING).fetchone()
    assert found is not None
    return int(found[0])


def asked(
    stack: ExitStack, server: Server, request: bytes, count: int, source: str = "127.0.0.1"
) -> list[socket.socket]:
    """So many connections on which the request was sent."""
    made = [stack.enter_context(connected(server, source=source)) for _ in range(count)]
    for one in made:
        one.sendall(request)
    return made


def refused(made: list[socket.socket], seconds: float = 3) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers of those that are answered soon."""
    end = time.monotonic() + seconds
    answers = []
    for one in made:
        one.settimeout(max(0.05, end - time.monotonic()))
        try:
            answers.append(read_one(one))
        except TimeoutError:
            continue
    return answers


def test_a_key_has_32_requests_under_way_takes_not_all_threads_and_what_it_leaves_is_cancelled(
    server: Server, agent: TestAgent
) -> None:
    other = make_agent(make_team("flight"))
    with held("lock table observation in access exclusive mode"):
        with ExitStack() as stack:
            made = asked(stack, server, head("GET", "/api/v1/observations", key(agent)), 40)
            wait_until(lambda: waiting() >= 2)
            answers = refused(made)
            assert [status for status, _, _ in answers] == [429] * 8
            assert all(int(headers["retry-after"]) >= 1 for _, headers, _ in answers)
            assert {orjson.loads(body)["code"] for _, _, body in answers} == {"too_many_requests"}
            assert 2 <= waiting() <= 8, "most of the 16 threads are left"
            with connected(server) as mine:  # nobody else is held
                mine.sendall(head("GET", "/api/v1/me", key(other)))
                assert read_one(mine)[0] == 200
            assert refused(asked(stack, server, head("GET", "/api/v1/me", key(agent)), 1))[0][0] == 429
        # All have left: what ran is cancelled, what waited is never begun.
        wait_until(lambda: waiting() == 0)
        with connected(server) as again:
            again.sendall(head("GET", "/api/v1/me", key(agent)))
            assert read_one(again)[0] == 200


def test_a_refusal_whose_client_has_left_waits_no_more(server: Server, agent: TestAgent) -> None:
    request = head("GET", "/api/v1/observations", key(agent))
    with held("lock table observation in access exclusive mode"), ExitStack() as stack:
        asked(stack, server, request, 32)
        wait_until(lambda: waiting() >= 2)
        with ExitStack() as left:
            asked(left, server, request, 150)
            time.sleep(0.3)
        time.sleep(0.3)
        begun = time.monotonic()
        assert refused(asked(stack, server, request, 1), 10)[0][0] == 429
        assert time.monotonic() - begun < 1.5, "beside 150 that wait it takes 2.8 s"


def test_a_write_whose_client_has_left_ends_whole(server: Server, agent: TestAgent) -> None:
    body = orjson.dumps({"content": "left"})
    lines = (key(agent), "Content-Type: application/json", f"Content-Length: {len(body)}")
    with held("lock table observation in access exclusive mode"):
        with connected(server) as gone:
            gone.sendall(head("POST", "/api/v1/observations", *lines) + body)
            wait_until(lambda: waiting() >= 1)
        time.sleep(1)
        assert waiting() >= 1

    def is_there() -> bool:
        rows = httpx2.get(f"{server.url}/api/v1/observations", headers=agent.headers, timeout=30).json()["results"]
        return [row["content"] for row in rows] == ["left"]

    wait_until(is_there)


def test_an_import_whose_client_has_left_stores_no_further_run(server: Server) -> None:
    agent = make_agent(make_team(), scopes=[*DEFAULT_SCOPES, "import"])
    turns = [{"role": "user" if number % 2 else "assistant", "content": f"turn {number}"} for number in range(200)]
    runs = [{"task_id": f"run-{number}", "messages": turns} for number in range(100)]
    body = orjson.dumps({"runs": runs})
    lines = (key(agent), "Content-Type: application/json", f"Content-Length: {len(body)}")

    def stored() -> int:
        rows = httpx2.get(f"{server.url}/api/v1/tasks?limit=100", headers=agent.headers, timeout=30).json()["results"]
        return len(rows)

    with connected(server) as gone:
        gone.sendall(head("POST", "/api/v1/import/trajectories", *lines) + body)
        wait_until(lambda: stored() >= 2)
    before = 0
    while before != (now := stored()):  # until it stands still
        before = now
        time.sleep(0.5)
    assert 2 <= now < 100
    again = httpx2.post(
        f"{server.url}/api/v1/import/trajectories",
        content=body,
        timeout=60,
        headers={**agent.headers, "Content-Type": "application/json"},
    )
    assert (again.status_code, again.json()["made"]["tasks"]) == (200, 100 - now), (
        "and what is sent again adds the rest"
    )


def test_waiters_of_an_idempotency_key_are_few_hold_one_thread_and_stop_when_they_leave(
    server: Server, agent: TestAgent
) -> None:
    body = orjson.dumps({"content": "once"})
    lines = (key(agent), "Content-Type: application/json", f"Content-Length: {len(body)}", "Idempotency-Key: same")
    request = head("POST", "/api/v1/observations", *lines) + body
    first = "insert into idempotency (id, credential, key, fingerprint) values (%s, %s, 'same', 'x')"
    with held(first, (new_id(), agent.key_id)):  # as one that another process works on
        with ExitStack() as stack:
            made = asked(stack, server, request, 18)
            wait_until(lambda: waiting() == 1)
            answers = refused(made)
            assert [status for status, _, _ in answers] == [429] * 14
            assert all("retry-after" in headers for _, headers, _ in answers)
            assert waiting() == 1
            with connected(server) as mine:  # the same key, for something else
                mine.sendall(head("GET", "/api/v1/me", key(agent)))
                assert read_one(mine)[0] == 200
        wait_until(lambda: waiting() == 0)
    with ExitStack() as stack:  # now that nobody holds it: one effect, one answer
        replies = [read_one(one) for one in asked(stack, server, request, 4)]
    assert {status for status, _, _ in replies} == {201}
    assert len({orjson.loads(body)["id"] for _, _, body in replies}) == 1


def test_a_session_has_16_and_a_person_is_told_so_on_a_page(server: Server) -> None:
    session = sign_in(make_person(make_team("flight")))
    lines = (f"Cookie: sessionid={session}", "Accept: text/html")
    with held("lock table escalation in access exclusive mode"), ExitStack() as stack:
        answers = refused(asked(stack, server, head("GET", "/", *lines), 20))
        assert [status for status, _, _ in answers] == [429] * 4
        for _, headers, body in answers:
            assert headers["content-type"].startswith("text/html")
            assert b"16 requests" in body
            assert "default-src 'none'" in headers["content-security-policy"]
    wait_until(lambda: waiting() == 0)


def test_an_address_without_a_key_has_8_and_made_up_keys_give_it_no_more(server: Server, agent: TestAgent) -> None:
    sources = ("127.0.0.6", "127.0.0.7")
    lines = ("Content-Type: application/json", "Content-Length: 100")
    from agents.keys import make_key

    for source, keys in zip(sources, ([], [make_key()[0] for _ in range(12)]), strict=True):
        with ExitStack() as stack:
            made = []
            for number in range(12):
                who = [f"Authorization: Bearer {keys[number]}"] if keys else []
                made += asked(stack, server, head("POST", "/api/v1/observations", *who, *lines) + b"{", 1, source)
            answers = refused(made)
            assert [status for status, _, _ in answers] == [429] * 4, source
            with connected(server, source=source) as mine:  # a good key of the same address
                mine.sendall(head("GET", "/api/v1/me", key(agent)))
                assert read_one(mine)[0] == 200


def test_behind_a_named_proxy_each_client_is_an_address_of_its_own() -> None:
    lines = ("Content-Type: application/json", "Content-Length: 100")
    with web("proxied", environment={"TRUSTED_PROXIES": "127.0.0.1"}) as server, ExitStack() as stack:
        for client, source, due in (
            ("203.0.113.1", "127.0.0.1", 2),
            ("203.0.113.2", "127.0.0.1", 2),
            ("203.0.113.3", "127.0.0.9", 2),
            ("203.0.113.4", "127.0.0.9", 10),  # no proxy: what it says of others is not believed
        ):
            request = head("POST", "/api/v1/observations", f"X-Forwarded-For: {client}", *lines) + b"{"
            assert len(refused(asked(stack, server, request, 10, source))) == due


def test_a_person_has_20_sockets_and_the_next_is_told_so(server: Server) -> None:
    person = make_person(team := make_team("flight"))
    session = sign_in(person)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(open_socket(server.url, team.slug, session)).send('{"after": 0}')
        with open_socket(server.url, team.slug, sign_in(person)) as late, pytest.raises(ConnectionClosed) as closed:
            late.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4429, "you have 20 pages open already")
        colleague = stack.enter_context(open_socket(server.url, team.slug, sign_in(make_person(team))))
        colleague.send('{"after": 0}')
        assert '"ready"' in colleague.recv(timeout=10)
    wait_until(lambda: opens(server, team.slug, session))


def opens(server: Server, team: str, session: str) -> bool:
    with open_socket(server.url, team, session) as again:
        again.send("no hello")
        return close_code(again) == 4400


def test_a_flood_of_passwords_is_refused_and_does_not_stop_the_others(server: Server, agent: TestAgent) -> None:
    def guess(number: int) -> int:
        transport = httpx2.HTTPTransport(local_address=f"127.0.0.{20 + number % 6}")
        with httpx2.Client(base_url=server.url, transport=transport, timeout=60) as client:
            client.get("/login/")
            answer = post_login(client, f"nobody-{number}", "x" * 20)
            if answer.status_code in (429, 503):
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code

    def seconds() -> list[float]:
        taken = []
        with httpx2.Client(base_url=server.url, headers=agent.headers, timeout=60) as client:
            for _ in range(30):
                begun = time.monotonic()
                assert client.get("/api/v1/me").status_code == 200
                taken.append(time.monotonic() - begun)
        return sorted(taken)

    known = make_person(make_team())
    with known_browser(server, known) as browser, ThreadPoolExecutor(48) as pool:
        guesses = [pool.submit(guess, number) for number in range(48)]
        time.sleep(0.5)
        assert signed_in(browser, known) == 302, "who has signed in with this browser before is not kept out"
        taken = seconds()
        statuses = Counter(guess.result() for guess in guesses)
    assert statuses[503] + statuses[429] >= 10, statuses
    assert statuses[200] >= 1, statuses  # some were tried
    assert taken[15] < 0.5, "the median of an API request while passwords are hashed"


@contextmanager
def known_browser(server: Server, person: Person) -> Iterator[httpx2.Client]:
    """A browser with which this person has signed in before, and is not now."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        client.get("/login/")
        assert signed_in(client, person) == 302
        client.cookies.delete("sessionid")
        yield client


def signed_in(client: httpx2.Client, person: Person) -> int:
    return post_login(client, person.username).status_code


def test_a_known_browser_is_not_kept_out_by_its_address(server: Server) -> None:
    person = make_person(make_team())
    stalled = head("POST", "/login/", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 50")
    with known_browser(server, person) as browser, ExitStack() as stack:
        asked(stack, server, stalled + b"username=", 8)
        time.sleep(0.3)
        with httpx2.Client(base_url=server.url, timeout=60) as other:
            assert other.get("/login/").status_code == 429
            other.cookies.set("known_0123456789abcdef", "made:up:signature")
            assert other.get("/login/").status_code == 429
        assert browser.get("/login/").status_code == 200
        assert signed_in(browser, person) == 302
