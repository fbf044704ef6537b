"""GET /api/v1/feed: pages in commit order, filters, who sees what, and the wait."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from agents.actions import keys
from agents.models import ApiKey
from escalations.actions import claims
from memoryhub.core.actions import memberships
from memoryhub.core.models import Sensitivity
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions
from memoryhub.memory.schemas.decisions import NewDecision
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import ask, make_task
from tests.support.ledger import head
from tests.support.streams import log, poll
from tests.support.web import Server


def test_pages_follow_each_other_in_commit_order_and_end(server: Server):
    team = make_team()
    agent = make_agent(team)
    start = head(team.id)
    made = [str(log(agent).id) for _ in range(7)]
    found, after = [], start
    while True:
        page = poll(server, agent, f"after={after}&limit=3").json()
        if not page["events"]:
            break
        assert len(page["events"]) <= 3
        found += page["events"]
        after = page["next"]
        assert after == found[-1]["seq"]
    assert page == {"events": [], "next": after, "life": 0}, "an empty page repeats the cursor"
    assert [event["id"] for event in found] == made
    assert [event["seq"] for event in found] == list(range(start + 1, start + 8))


def test_an_event_tells_what_happened_and_no_content(server: Server):
    team = make_team()
    agent = make_agent(team)
    task = make_task(agent.viewer)
    after = head(team.id)
    log(agent, "canary", task=task.key)
    decisions.record(
        agent.viewer, item=NewDecision(task=task.key, decision="canary", reasoning="canary", action_key="refund:1")
    )
    reply = poll(server, agent, f"after={after}")
    assert reply.headers["cache-control"] == "no-store"
    assert "canary" not in reply.text
    logged, recorded = reply.json()["events"]
    assert set(logged) == {"seq", "life", "type", "id", "row_type", "label", "author", "at", "task", "data"}
    assert (logged["type"], logged["row_type"], logged["label"]) == ("observation.log", "observation", "internal")
    assert (logged["author"], logged["task"], logged["data"]) == (agent.name, task.key, {})
    assert (recorded["type"], recorded["data"]) == ("decision.record", {"action_key": "refund:1"})


def test_without_a_cursor_the_feed_begins_now(server: Server):
    team = make_team()
    agent = make_agent(team)
    log(agent)
    assert poll(server, agent).json() == {"events": [], "next": head(team.id), "life": 0}


def test_filters_take_types_of_rows_and_events_and_a_task(server: Server):
    team = make_team()
    agent = make_agent(team)
    one, other = make_task(agent.viewer), make_task(agent.viewer)
    after = head(team.id)
    log(agent, task=one.key)
    decisions.record(agent.viewer, item=NewDecision(task=one.key, decision="d", reasoning="r"))
    log(agent, task=other.key)
    ask(agent.viewer, other)

    def types(query: str) -> list[str]:
        page = poll(server, agent, f"after={after}&{query}").json()
        assert page["next"] == head(team.id), "what the filters pass over is considered"
        return [event["type"] for event in page["events"]]

    assert types("types=observation") == ["observation.log"] * 2
    assert types("types=decision.record,escalation") == ["decision.record", "escalation.escalate"]
    assert types(f"task={one.key}") == ["observation.log", "decision.record"]
    assert types(f"task={other.key}&types=observation.log") == ["observation.log"]
    assert types("types=nothing") == []
    assert poll(server, agent, "task=absent").status_code == 404


def test_only_those_hear_whose_clearance_allows_and_the_private_is_its_authors(server: Server):
    team = make_team()
    high, low, other = make_agent(team, 2, ["finance"]), make_agent(team), make_agent(team, 2, ["pii"])
    task = make_task(high.viewer, Sensitivity.CONFIDENTIAL, ["finance"])
    after = head(team.id)
    log(high, task=task.key)
    log(high, task=task.key, sensitivity=1, compartments=[])
    log(high, private=True)
    log(low)

    def heard(agent) -> list[tuple[str, str | None]]:
        page = poll(server, agent, f"after={after}").json()
        assert page["next"] == head(team.id)
        return [(event["label"], event.get("task")) for event in page["events"]]

    secret = ("confidential+finance", task.key)
    assert heard(high) == [secret, ("internal", task.key), ("internal", None), ("internal", None)]
    # The second is of a task that they may not see, whose key they are not told.
    assert heard(low) == heard(other) == [("internal", None), ("internal", None)]
    assert poll(server, low, f"task={task.key}").status_code == 404


def test_administration_is_no_news_for_agents(server: Server):
    team = make_team()
    agent = make_agent(team)
    after = head(team.id)
    new = make_agent(team)
    make_person(team)
    log(new)
    assert [event["type"] for event in poll(server, agent, f"after={after}").json()["events"]] == ["observation.log"]


def test_a_wait_ends_when_something_wanted_happens_and_not_before(server: Server):
    team = make_team()
    agent, high = make_agent(team), make_agent(team, 2)
    task = make_task(agent.viewer)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(poll, server, agent, "wait=20&types=decision")
        for_all = threads.submit(poll, server, agent, "wait=20")
        time.sleep(0.7)
        log(high, sensitivity=2)
        time.sleep(0.3)
        assert not for_all.done(), "what is hidden wakes nobody"
        log(agent)
        assert [event["type"] for event in for_all.result().json()["events"]] == ["observation.log"]
        assert not waiting.done(), "what the filter does not take wakes nobody"
        decisions.record(agent.viewer, item=NewDecision(task=task.key, decision="d", reasoning="r"))
        given = time.monotonic()
        page = waiting.result().json()
    assert time.monotonic() - given < 1.5
    assert [event["type"] for event in page["events"]] == ["decision.record"]
    assert page["next"] == head(team.id)


def test_a_wait_without_news_ends_in_time_with_an_empty_page(server: Server):
    agent = make_agent(make_team())
    begun = time.monotonic()
    page = poll(server, agent, "wait=1").json()
    assert 1 <= time.monotonic() - begun < 3
    assert page["events"] == []


@pytest.mark.parametrize(
    "query",
    [
        *("after=-1", "after=x", "after=1.0", "after=", "after=1&after=1", "after=99999999999999999999"),
        *("limit=0", "limit=101", "wait=61", "wait=-1", "wait=x", "types=", "types=a,,b", "types=A", "types=%00"),
        *("types=a.b.c", "types=a%20b", "task=%2F", "task=", "x=1", "cursor=1"),
    ],
)
@pytest.mark.parametrize("address", ["feed", "feed/stream"])
def test_bad_parameters_are_400(server: Server, address: str, query: str):
    agent = make_agent(make_team())
    reply = httpx2.get(f"{server.url}/api/v1/{address}?{query}", headers=agent.headers, timeout=10)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json"), reply.text


def test_keys_scopes_and_methods_are_checked(server: Server):
    team = make_team()
    agent, narrow = make_agent(team), make_agent(team, scopes=["tasks"])
    for address in ("feed", "feed/stream"):
        url = f"{server.url}/api/v1/{address}"
        assert httpx2.get(url).status_code == 401
        assert httpx2.get(url, headers={"Authorization": "Bearer mh_agent_nonsense"}).status_code == 401
        assert httpx2.get(url, headers=narrow.headers).json()["code"] == "forbidden"
        refused = httpx2.post(url, headers=agent.headers)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
        assert refused.headers["x-request-id"] == refused.json()["request_id"]
        assert httpx2.get(f"{url}/", headers=agent.headers).status_code == 404


def test_rights_that_are_taken_away_end_the_wait(server: Server):
    team = make_team()
    system = system_viewer(team.id)
    for number in range(2):
        agent = make_agent(team, 2)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(poll, server, agent, "wait=30")
            time.sleep(0.7)
            if number:
                keys.revoke(system, key=ApiKey.objects.get(id=agent.key_id))
            else:
                member = agent.membership
                memberships.change(system, member=member, role="agent", clearance=0, compartments=[], is_active=True)
            begun = time.monotonic()
            reply = waiting.result()
        assert time.monotonic() - begun < 2.5
        # A key that is still one sees what it now may: nothing new.
        assert reply.status_code == (401 if number else 200)
        assert number or reply.json()["events"] == []


def test_waits_and_streams_share_a_keys_places(server: Server):
    team = make_team()
    agent = make_agent(team)
    escalation = ask(agent.viewer, make_task(agent.viewer))
    address = f"{server.url}/api/v1/escalations/{escalation.id}/answer?wait=4"
    with ThreadPoolExecutor(20) as threads:
        mine = [threads.submit(poll, server, agent, "wait=4") for _ in range(6)]
        mine += [threads.submit(httpx2.get, address, headers=agent.headers, timeout=30) for _ in range(6)]
        time.sleep(1.5)
        refused = poll(server, agent, "wait=1")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert httpx2.get(f"{server.url}/api/v1/feed/stream", headers=agent.headers).status_code == 429
        assert poll(server, make_agent(team), "").status_code == 200
        codes = sorted(waiting.result().status_code for waiting in mine)
    assert codes.count(429) == 4
    assert poll(server, agent, "wait=1").status_code == 200, "every place is free again"


def test_a_claim_by_a_person_is_heard(server: Server):
    team = make_team()
    agent, sam = make_agent(team), make_person(team)
    escalation = ask(agent.viewer, make_task(agent.viewer))
    after = head(team.id)
    claims.claim(sam.viewer, escalation_id=escalation.id)
    (event,) = poll(server, agent, f"after={after}").json()["events"]
    assert (event["type"], event["author"], event["id"]) == ("escalation.claim", sam.name, str(escalation.id))
