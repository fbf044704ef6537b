"""The long poll of an escalation's answer, and the rest of what the ASGI side does with HTTP."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx2
import psutil
import pytest

from escalations.actions import answers, claims
from memoryhub.core.models import Sensitivity
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import ask, make_task
from tests.support.web import Server


def poll(server: Server, agent, escalation, query: str = "wait=20", **options) -> httpx2.Response:
    address = f"{server.url}/api/v1/escalations/{escalation}/answer?{query}"
    return httpx2.get(address, headers={**agent.headers, **options}, timeout=60)


@pytest.fixture
def asked():
    """An agent, a person of its team, and an escalation that waits."""
    team = make_team()
    agent, sam = make_agent(team), make_person(team)
    return agent, sam, ask(agent.viewer, make_task(agent.viewer))


def test_the_answer_comes_at_once_when_a_person_gives_it(server: Server, asked):
    agent, sam, escalation = asked
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(poll, server, agent, escalation.id)
        time.sleep(0.7)
        claims.claim(sam.viewer, escalation_id=escalation.id)
        time.sleep(0.3)
        assert not waiting.done(), "a claim is no answer"
        answers.decide(sam.viewer, escalation_id=escalation.id, verdict="respond", message="refund it")
        given = time.monotonic()
        response = waiting.result()
    assert time.monotonic() - given < 1.5
    assert response.status_code == 200
    assert response.json()["outcome"] == "answered"
    assert response.json()["message"] == "refund it"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    # And when it is there already.
    begun = time.monotonic()
    assert poll(server, agent, escalation.id).json() == response.json()
    assert time.monotonic() - begun < 1
    assert poll(server, agent, escalation.id, "").status_code == 200


def test_a_cancelled_escalation_ends_the_wait(server: Server, asked):
    agent, _, escalation = asked
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(poll, server, agent, escalation.id)
        time.sleep(0.5)
        answers.cancel(agent.viewer, escalation_id=escalation.id, reason="found it")
        assert waiting.result().json()["outcome"] == "cancelled"


def test_without_an_answer_it_is_204_when_the_time_is_over(server: Server, asked):
    agent, _, escalation = asked
    for seconds in (0, 1):
        begun = time.monotonic()
        response = poll(server, agent, escalation.id, f"wait={seconds}")
        assert (response.status_code, response.content) == (204, b"")
        assert seconds <= time.monotonic() - begun < seconds + 1


@pytest.mark.parametrize(
    "query",
    [
        "wait=61",
        "wait=-1",
        "wait=1.5",
        "wait=",
        "wait=1&wait=1",
        "wait=%00",
        "wait=1&x=1",
        "dialect=x",
        "wait=\u0661",
        "%ff=1",
    ],
)
def test_bad_parameters_are_400(server: Server, asked, query: str):
    agent, _, escalation = asked
    response = poll(server, agent, escalation.id, query)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_hidden_and_absent_are_the_same_404(server: Server, asked):
    agent, _, escalation = asked
    team = make_team()
    high = make_agent(team, Sensitivity.CONFIDENTIAL)
    hidden = ask(high.viewer, make_task(high.viewer, Sensitivity.CONFIDENTIAL))
    low = make_agent(team)
    for who, target in ((low, hidden.id), (high, escalation.id), (agent, uuid4())):
        begun = time.monotonic()
        response = poll(server, who, target)
        assert response.status_code == 404
        assert time.monotonic() - begun < 5, "it does not wait for what is not there"
        assert set(response.json()) == {"code", "detail", "errors", "type", "title", "status", "request_id"}
        assert response.json()["code"] == "not_found"
    assert poll(server, high, "x").status_code == 404


def test_keys_scopes_and_methods_are_checked(server: Server, asked):
    agent, _, escalation = asked
    assert poll(server, agent, escalation.id, Authorization="Bearer nonsense").status_code == 401
    narrow = make_agent(make_team(), scopes=["memory:read"])
    assert poll(server, narrow, escalation.id).status_code == 403
    address = f"{server.url}/api/v1/escalations/{escalation.id}/answer"
    refused = httpx2.post(address, headers=agent.headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.headers["x-request-id"] == refused.json()["request_id"]


def test_waits_are_capped_by_key_and_hold_no_thread(server: Server, asked):
    agent, sam, escalation = asked
    process = psutil.Process(server.process.popen.pid)
    others = [make_agent(make_team()) for _ in range(5)]
    targets = [(one, ask(one.viewer, make_task(one.viewer)).id) for one in others]
    # As many threads as there are to be are there once each was needed.
    for one, target in targets * 4:
        poll(server, one, target, "wait=0")
    before = process.num_threads()
    with ThreadPoolExecutor(60) as threads:
        mine = [threads.submit(poll, server, agent, escalation.id) for _ in range(12)]
        theirs = [threads.submit(poll, server, one, target, "wait=4") for one, target in targets * 8]
        time.sleep(2)
        assert process.num_threads() <= before + 8
        begun = time.monotonic()
        assert httpx2.get(f"{server.url}/healthz").status_code == 200
        assert time.monotonic() - begun < 5, "the waits hold the web's threads"
        claims.claim(sam.viewer, escalation_id=escalation.id)
        answers.decide(sam.viewer, escalation_id=escalation.id, verdict="respond", message="yes")
        codes = sorted(waiting.result().status_code for waiting in mine)
        assert codes == [200] * 8 + [429] * 4
        assert {waiting.result().status_code for waiting in theirs} == {204}
    # Every place is free again.
    assert poll(server, agent, escalation.id).status_code == 200


def test_a_client_that_goes_away_frees_its_place(server: Server, asked):
    agent, _, escalation = asked
    for _ in range(20):
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get(
                f"{server.url}/api/v1/escalations/{escalation.id}/answer?wait=60", headers=agent.headers, timeout=0.15
            )
    time.sleep(0.3)
    assert poll(server, agent, escalation.id, "wait=1").status_code == 204


def request_of(agent, line: str, *headers: str) -> bytes:
    lines = (f"{line} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {agent.key}", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


def raw_request(server: Server, request: bytes) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answered = b""
        while chunk := connection.recv(65536):
            answered += chunk
    return answered


def test_bytes_beyond_ascii_in_a_query_are_no_error_of_ours(server: Server):
    agent = make_agent(make_team())
    answered = raw_request(server, request_of(agent, "GET /api/v1/tasks?q=\xff", "Connection: close"))
    assert answered.split(b" ")[1] == b"400"


def test_a_header_with_an_underscore_is_not_taken_for_another(server: Server):
    agent = make_agent(make_team())
    forged = ("X_Authorization: x", "X_Request_Id: forged-request-id", "Connection: close")
    answered = raw_request(server, request_of(agent, "GET /api/v1/me", *forged))
    assert answered.split(b" ")[1] == b"200"
    assert b"forged-request-id" not in answered


def test_a_body_that_breaks_off_changes_nothing(server: Server):
    agent = make_agent(make_team())
    body = b'{"key": "broken", "title": "x"}'
    headers = ("Content-Type: application/json", f"Content-Length: {len(body) + 2}")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request_of(agent, "POST /api/v1/tasks", *headers) + body)
        time.sleep(0.3)
    time.sleep(0.5)
    assert httpx2.get(f"{server.url}/api/v1/tasks/broken", headers=agent.headers).status_code == 404


def test_many_waits_end_together_when_the_answer_comes(server: Server):
    """One reader a team, whatever the number of those who wait."""
    team = make_team()
    sam, agents = make_person(team), [make_agent(team) for _ in range(4)]
    escalation = ask(agents[0].viewer, make_task(agents[0].viewer))
    done: list[tuple[int, float]] = []

    def wait(agent) -> None:
        done.append((poll(server, agent, escalation.id).status_code, time.monotonic()))

    threads = [threading.Thread(target=wait, args=(agent,)) for agent in agents * 5]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    claims.claim(sam.viewer, escalation_id=escalation.id)
    answers.decide(sam.viewer, escalation_id=escalation.id, verdict="respond", message="yes")
    given = time.monotonic()
    for thread in threads:
        thread.join()
    assert [status for status, _ in done] == [200] * 20
    assert max(at for _, at in done) - given < 2
