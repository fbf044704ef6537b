"""How many requests a key may make, and what it is told about it."""

import re
import threading
import time
from itertools import pairwise
from uuid import UUID

import httpx2
import pytest

from agents.limits import SWEEP_AT, WINDOW_SECONDS, Buckets
from memoryhub.core.errors import Invalid
from memoryhub.core.ids import new_id
from memoryhub.core.models import Team
from tests.support.api import Api, Reply, make_api
from tests.support.factories import make_agent, make_team
from tests.support.labelled_world import ask, make_task
from tests.support.web import Server

PER_MINUTE = 60  # one a second, ten at once
BURST = 10
REFUSED = (429, "too_many_requests")


@pytest.fixture
def limited(team: Team) -> Api:
    return make_api(team, rate_limit=PER_MINUTE)


def left(reply: Reply) -> tuple[int, int]:
    """`r` and `t` of the RateLimit header."""
    found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', reply.headers["RateLimit"])
    assert found
    return int(found[1]), int(found[2])


def test_every_answer_to_a_key_tells_what_is_left(limited: Api) -> None:
    replies = [
        limited.get("me"),
        limited.post("tasks", {"key": "t", "title": "T"}),
        limited.get("tasks/none"),
        limited.get("me?x=1"),
        limited.post("tasks", b"{"),
        limited.send("PUT", "tasks"),
        limited.send("HEAD", "me"),
    ]
    assert [reply.status for reply in replies[:6]] == [200, 201, 404, 400, 400, 405]
    assert {reply.headers["RateLimit-Policy"] for reply in replies} == {f'"default";q={BURST};w=10'}
    # A token may come back meanwhile, and each request takes one only.
    told = [left(reply)[0] for reply in replies]
    assert told[0] == BURST - 1
    assert all(after >= before - 1 for before, after in pairwise(told))
    assert min(told) < BURST - 1
    assert all(1 <= left(reply)[1] <= WINDOW_SECONDS for reply in replies)


def test_who_has_no_key_is_told_of_no_limit(api: Api) -> None:
    for reply in (Api(None).get("me"), api.send("GET", "/metrics")):
        assert not {"RateLimit", "RateLimit-Policy"} & set(reply.headers)


def test_after_the_burst_a_key_is_refused_and_recovers_when_it_was_told(team: Team, limited: Api) -> None:
    begun = time.monotonic()
    replies = [limited.get("me") for _ in range(BURST + 3)]
    while replies[-1].status == 200:  # on a slow machine tokens come back meanwhile
        replies.append(limited.get("me"))
        assert time.monotonic() - begun < 60
    refused = replies[-1]
    assert [reply.status for reply in replies[:BURST]] == [200] * BURST
    assert refused.refusal == REFUSED
    assert left(refused)[0] == 0
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Policy"] == replies[0].headers["RateLimit-Policy"]
    assert limited.post("tasks", {"key": "refused", "title": "T"}).refusal == REFUSED
    # Others are unharmed, of the same team and agent too.
    other = make_api(team, rate_limit=PER_MINUTE)
    assert left(other.get("me"))[0] == BURST - 1
    time.sleep(int(refused.headers["Retry-After"]))
    assert limited.get("me").status == 200
    assert other.get("tasks/refused").refusal == (404, "not_found")


def test_a_refusal_costs_nothing(limited: Api) -> None:
    """A client that asks on and on still gets what its limit allows."""
    for _ in range(BURST):
        limited.get("me")
    begun, allowed = time.monotonic(), 0
    while allowed < 2:
        allowed += limited.get("me").status == 200
        assert time.monotonic() - begun < 30, "who is refused never gets a token again"


def test_a_long_poll_is_one_request(server: Server) -> None:
    team = make_team()
    agent = make_agent(team, rate_limit=6)  # one at once, one in ten seconds
    escalation = ask(agent.viewer, make_task(agent.viewer))
    address = f"{server.url}/api/v1/escalations/{escalation.id}/answer"
    waited = httpx2.get(f"{address}?wait=2", headers=agent.headers, timeout=20)  # it looks twice
    assert waited.status_code == 204
    assert waited.headers["RateLimit-Policy"] == '"default";q=1;w=10'
    refused = httpx2.get(address, headers=agent.headers, timeout=20)
    assert (refused.status_code, refused.json()["code"]) == REFUSED
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert refused.headers["RateLimit"].startswith('"default";r=0;t=')
    # The same bucket, whichever side of the process answers.
    refused = httpx2.get(f"{server.url}/api/v1/me", headers=agent.headers, timeout=20)
    assert (refused.status_code, refused.json()["code"]) == REFUSED


def test_limits_out_of_bounds_are_refused(team: Team) -> None:
    for rate_limit in (0, -1, 6_000_001):
        with pytest.raises(Invalid):
            make_agent(team, rate_limit=rate_limit)


def test_a_bucket_gives_no_more_than_its_size_and_its_rate() -> None:
    """Of a thousand requests in ten seconds, by a clock of the test's own: 5 at once and 2 a second."""
    buckets, key = Buckets(), new_id()
    taken = [buckets.take(key, 5, 0.5, 100 + step / 100)[1] for step in range(1000)]
    assert taken[:6] == [True] * 5 + [False]
    assert sum(taken) == 5 + 19


def test_a_bucket_gives_each_token_once_whoever_asks_at_once() -> None:
    buckets, key = Buckets(), new_id()
    taken: list[bool] = []

    def ask_on() -> None:
        taken.extend([buckets.take(key, 1000, 1e6, 1.0)[1] for _ in range(500)])

    threads = [threading.Thread(target=ask_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1000


def test_keys_that_rest_take_no_memory() -> None:
    buckets = Buckets()
    for number in range(20 * SWEEP_AT):
        buckets.take(UUID(int=number), 10, 1.0, number * 0.1)  # each is full again after ten others
    assert len(buckets) <= SWEEP_AT
