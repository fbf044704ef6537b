"""I21 on the wire: heads, bodies, answers and connections have bounds, and who passes them is told so and closed."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import orjson
import pytest

from tests.support.factories import TestAgent, make_agent, make_team
from tests.support.raw_http import connected, head, key, read_all, read_one, refusal, seconds_until_closed
from tests.support.web import Server, memory_of, web

MB = 1 << 20
FILES = 256  # of which connections may have 192, and one address 48
BUDGETS = {
    "HEADER_SECONDS": "2",
    "KEEP_ALIVE_SECONDS": "6",
    "BODY_SECONDS": "5",
    "BODY_STALL_SECONDS": "2",
    "SEND_SECONDS": "2",
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A web process with short times, which may open few files."""
    with web("strict", environment=BUDGETS, files=FILES) as server:
        yield server


@pytest.fixture(scope="module")
def agent() -> TestAgent:
    return make_agent(make_team("connections"))


def ask(connection: socket.socket, agent: TestAgent) -> int:
    connection.sendall(head("GET", "/api/v1/me", key(agent)))
    return read_one(connection)[0]


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-Long: {'x' * 33_000}"],
        [f"X-{number}: {'x' * 300}" for number in range(150)],
        [f"X-{number}: x" for number in range(300)],
        [f"Cookie: a={'x' * 33_000}"],
    ],
)
def test_headers_over_32_kib_or_200_lines_are_431(server: Server, agent: TestAgent, lines: list[str]) -> None:
    with connected(server) as connection:
        connection.sendall(head("GET", "/api/v1/me", key(agent), *lines))
        assert refusal(connection) == (431, "headers_too_large")
        assert read_all(connection) == b""
    with connected(server) as connection:  # the control: a bit less
        connection.sendall(head("GET", "/api/v1/me", key(agent), f"X-Long: {'x' * 31_000}"))
        assert refusal(connection)[0] == 200


def test_200_mb_of_headers_are_not_taken_in(server: Server) -> None:
    before = memory_of(server)
    for line in (b"X-A: b\r\n" * 8192, b"x" * MB):
        with connected(server) as connection:
            connection.sendall(b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
            sent = 0
            try:
                while sent < 200 * MB:
                    connection.sendall(line)
                    sent += len(line)
            except OSError:
                pass
            assert sent < 100 * MB
            assert refusal(connection) == (431, "headers_too_large")
    assert memory_of(server) - before < 30 * MB


@pytest.mark.parametrize(
    "start",
    [
        head("GET", "/api/v1/me", "X-Long: " + "x" * 40_000),
        head("POST", "/api/v1/observations", "Content-Length: 1000000000") + b"x" * 100_000,
    ],
    ids=["head", "body"],
)
def test_who_pours_on_after_a_refusal_is_read_slowly(server: Server, start: bytes) -> None:
    def pour(one: socket.socket, until: float) -> None:
        with suppress(OSError):
            one.sendall(start)
            while time.monotonic() < until:
                taken.append(one.send(bytes(256 * 1024)))

    taken: list[int] = []
    with ExitStack() as stack:
        made = [stack.enter_context(connected(server)) for _ in range(20)]
        threads = [threading.Thread(target=pour, args=(one, time.monotonic() + 3)) for one in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # 25 MB a second of all, and what the system itself keeps of each (160 to 200 MB); unbounded 440 and more.
    assert sum(taken) < 300 * 1_000_000


def test_trailers_count_as_headers_and_do_not_end_as_a_body(server: Server, agent: TestAgent) -> None:
    with connected(server) as connection:
        connection.sendall(
            head(
                "POST",
                "/api/v1/observations",
                key(agent),
                "Content-Type: application/json",
                "Transfer-Encoding: chunked",
            )
            + b'e\r\n{"content": 1}\r\n0\r\n'
            + b"X-Trailer: x\r\n" * 5000
        )
        assert refusal(connection) == (431, "headers_too_large")


@pytest.mark.parametrize("start", [b"", b"G", b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_head_that_takes_too_long_is_408_and_nothing_at_all_is_closed(strict: Server, start: bytes) -> None:
    begun = time.monotonic()
    with connected(strict) as connection:
        connection.sendall(start)
        if start:
            assert refusal(connection) == (408, "request_timeout")
        assert read_all(connection) == b""
    assert 1.9 < time.monotonic() - begun < 15


def test_a_head_in_drops_gains_no_time(strict: Server) -> None:
    begun = time.monotonic()
    with connected(strict, seconds=0.1) as connection:
        connection.sendall(b"GET /api/v1/me HTTP/1.1\r\nX-A: ")
        got = b""
        while time.monotonic() - begun < 20 and not got:
            connection.sendall(b"x")
            try:
                got = connection.recv(4096)
            except TimeoutError:
                continue
    assert got.startswith(b"HTTP/1.1 408 ")


def test_a_kept_connection_lives_longer_than_one_that_never_asked(strict: Server, agent: TestAgent) -> None:
    with connected(strict) as connection:
        assert ask(connection, agent) == 200
        time.sleep(4)  # twice as long as it might have taken to ask first
        assert ask(connection, agent) == 200
        assert 5 < seconds_until_closed(connection) < 20


def test_a_connection_is_kept_for_75_seconds_by_default(server: Server, agent: TestAgent) -> None:
    from django.conf import settings

    assert settings.KEEP_ALIVE_SECONDS == 75
    with connected(server) as connection:
        assert ask(connection, agent) == 200
        time.sleep(6.5)  # uvicorn's own time is 5
        assert ask(connection, agent) == 200


@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_stalls_or_takes_too_long_is_408(strict: Server, agent: TestAgent, length: str) -> None:
    part = b'{"' if length.startswith("C") else b'2\r\n{"\r\n'
    for pause, least in ((30, 1.9), (0.5, 4.9)):  # nothing more comes; it goes on for ever
        begun = time.monotonic()
        with connected(strict, seconds=pause) as connection:
            connection.sendall(
                head("POST", "/api/v1/observations", key(agent), "Content-Type: application/json", length)
            )
            got = b""
            while not got and time.monotonic() - begun < 30:
                connection.sendall(part)
                try:
                    got = connection.recv(65536)
                except TimeoutError:
                    part = b" " if length.startswith("C") else b"1\r\n \r\n"
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in got
        assert time.monotonic() - begun > least


def test_a_body_in_a_million_chunks_is_refused(server: Server, agent: TestAgent) -> None:
    with connected(server) as connection:
        asked = head(
            "POST", "/api/v1/observations", key(agent), "Content-Type: application/json", "Transfer-Encoding: chunked"
        )
        with suppress(OSError):
            connection.sendall(asked + b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n")
        assert refusal(connection) == (400, "invalid")


def test_a_large_body_needs_a_key_that_opens_something_before_it_is_read(server: Server, agent: TestAgent) -> None:
    body = orjson.dumps({"content": "x" * 100_000})
    made_up = make_agent(make_team("connections"))
    made_up.membership.is_active = False
    made_up.membership.save(update_fields=["is_active"])
    for lines, status in (
        ([], 401),
        ([f"Authorization: Bearer {agent.key[:-1]}{'y' if agent.key.endswith('x') else 'x'}"], 401),
        ([key(made_up)], 401),  # deactivated
        ([key(agent)], 100),
    ):
        with connected(server) as connection:
            connection.sendall(
                head(
                    *("POST", "/api/v1/observations", *lines, "Content-Type: application/json"),
                    *(f"Content-Length: {len(body)}", "Expect: 100-continue"),
                )
            )
            got = connection.recv(65536)
            assert got.startswith(b"HTTP/1.1 %d " % status), (lines, got)
            if status == 100:
                connection.sendall(body)
                assert read_one(connection)[0] == 201
            else:
                assert b"connection: close" in got
    with connected(server) as connection:  # and one that is sent without asking is answered all the same
        with suppress(OSError):
            connection.sendall(
                head("POST", "/api/v1/observations", "Content-Type: application/json", f"Content-Length: {8 * MB}")
                + b" " * 8 * MB
            )
        assert refusal(connection) == (401, "unauthorized")
    with connected(server) as connection:
        connection.sendall(head("POST", "/login/", "Content-Type: text/plain", f"Content-Length: {MB}"))
        assert refusal(connection) == (413, "too_large")


def test_pipelined_requests_are_answered_in_order_and_not_without_end(server: Server, agent: TestAgent) -> None:
    one = head("GET", "/api/v1/me", key(agent))
    with connected(server) as connection:
        connection.sendall(one * 5 + head("GET", "/api/v1/me", key(agent), "Connection: close"))
        assert read_all(connection).count(b"HTTP/1.1 200 ") == 6
    with connected(server) as connection:
        connection.sendall(one * 3000)
        got = read_all(connection)
    assert 1 <= got.count(b"HTTP/1.1 200 ") <= 18
    assert got.count(b"HTTP/1.1 ") == got.count(b"HTTP/1.1 200 ")
    with connected(server) as connection:  # what is no request comes after what is one
        connection.sendall(one + b"no request at all\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_idle_connections_lock_nobody_out(strict: Server, agent: TestAgent) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(connected(strict))
        assert ask(kept, agent) == 200
        for number in range(2 * FILES):
            stack.enter_context(connected(strict, source=f"127.0.0.{2 + number % 2}"))
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            with connected(strict, source=source) as fresh:
                assert ask(fresh, agent) == 200
        assert ask(kept, agent) == 200  # of another address


def test_who_sends_half_a_head_or_more_than_is_allowed_keeps_nobody_of_the_same_address_out(
    strict: Server, agent: TestAgent
) -> None:
    neighbour = make_agent(make_team("crowd"))
    whole = head("GET", "/api/v1/feed/stream", key(neighbour))
    for sent in (whole[:-2], whole):  # of the second kind 32 are served, and the rest will be refused
        with ExitStack() as stack:
            crowd = [stack.enter_context(connected(strict, source="127.0.0.6")) for _ in range(60)]
            for one in crowd:
                with suppress(ConnectionError):  # it gave way already
                    one.sendall(sent)
            time.sleep(0.3)
            for _ in range(3):
                with connected(strict, source="127.0.0.6") as late:
                    assert ask(late, agent) == 200


def test_busy_connections_of_one_address_leave_room_for_others_who_are_told_where_there_is_none(
    strict: Server, agent: TestAgent
) -> None:
    with ExitStack() as stack:
        busy = [make_agent(make_team("busy")) for _ in range(6)]  # each may have eight streams
        for number in range(48):  # each of them is served
            one = stack.enter_context(connected(strict, source="127.0.0.4"))
            one.sendall(head("GET", "/api/v1/feed/stream", key(busy[number % 6])))
        time.sleep(0.5)
        with connected(strict, source="127.0.0.4") as late:
            assert refusal(late) == (503, "unavailable")
        with connected(strict, source="127.0.0.5") as other:
            assert ask(other, agent) == 200
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:  # and afterwards all is as before
        with connected(strict, source="127.0.0.4") as again:
            again.sendall(head("GET", "/healthz"))
            if refusal(again)[0] == 200:
                return
        time.sleep(0.2)
    raise AssertionError("the places are not free again")


def fill(server: Server, agent: TestAgent) -> None:
    """Four million bytes of observations."""
    for _ in range(16):
        with connected(server) as connection:
            body = orjson.dumps({"content": "x" * 250_000})
            connection.sendall(
                head(
                    *("POST", "/api/v1/observations", key(agent), "Content-Type: application/json"),
                    f"Content-Length: {len(body)}",
                )
                + body
            )
            assert read_one(connection)[0] == 201


def test_a_reader_that_does_not_read_is_closed_and_what_it_left_is_freed(strict: Server, agent: TestAgent) -> None:
    fill(strict, agent)
    before = memory_of(strict)
    with ExitStack() as stack:
        lazy = []
        for _ in range(30):  # 4 MB each
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(30)
            one.connect(("127.0.0.1", int(strict.url.rsplit(":", 1)[1])))
            one.sendall(head("GET", "/api/v1/observations?limit=100", key(agent)))
            lazy.append(one)
            time.sleep(0.05)
        assert memory_of(strict) - before < 150 * MB
        time.sleep(6)
        with connected(strict) as connection:
            assert ask(connection, agent) == 200
        ended = [len(read_all(one)) for one in lazy]
    assert max(ended) < 4_000_000, "none of them was sent whole"
    assert memory_of(strict) - before < 100 * MB


def test_a_slow_reader_that_goes_on_reading_gets_all(strict: Server, agent: TestAgent) -> None:
    """The control: only who takes nothing is cut."""
    fill(strict, agent)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.settimeout(30)
        one.connect(("127.0.0.1", int(strict.url.rsplit(":", 1)[1])))
        one.sendall(head("GET", "/api/v1/observations?limit=100", key(agent), "Connection: close"))
        size = 0
        while part := one.recv(100_000):
            size += len(part)
            time.sleep(0.05)
    assert size > 4_000_000


def test_a_client_that_stalls_holds_no_batch_of_another(server: Server, agent: TestAgent) -> None:
    noisy = make_agent(make_team("connections"))
    body = orjson.dumps({"items": [{"content": "x" * 1000} for _ in range(500)]})
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with ExitStack() as stack:
        for number in range(90):
            one = stack.enter_context(connected(server))
            who = [key(noisy)] if number % 2 else []
            one.sendall(
                head("POST", "/api/v1/observations/batch", *who, *lines) + body[: 100_000 if number % 4 else 1000]
            )
        time.sleep(0.5)
        begun = time.monotonic()
        with connected(server) as mine:
            mine.sendall(head("POST", "/api/v1/observations/batch", key(agent), *lines) + body)
            assert read_one(mine)[0] == 200
        assert time.monotonic() - begun < 8, "it waited for those who stall"
