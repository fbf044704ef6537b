"""GET /api/v1/feed/stream: who is sent what, resuming, rights that end it, and readers that stop reading."""

import contextlib
import socket as sockets
import time

import httpx2
import psutil
import pytest

from agents.actions import keys
from agents.models import ApiKey
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.actions import memberships
from memoryhub.core.ledger import events
from memoryhub.core.models import Sensitivity
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import decisions
from memoryhub.memory.schemas.decisions import NewDecision
from tests.support.factories import make_agent, make_team
from tests.support.labelled_world import make_task
from tests.support.ledger import head
from tests.support.streams import log, opened, refusal
from tests.support.timing import percentile
from tests.support.web import Server, memory_of, metrics, web


def test_events_come_at_once_as_server_sent_events(server: Server):
    team = make_team()
    agent = make_agent(team)
    task = make_task(agent.viewer)
    with opened(server, agent) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        begun = time.monotonic()
        made = log(agent, "canary", task=task.key)
        (message,) = stream.events(1)
    assert time.monotonic() - begun < 1.5
    assert (message.id, message.event) == (head(team.id), "observation.log")
    assert (message.data["seq"], message.data["id"]) == (message.id, str(made.id))
    assert (message.data["task"], message.data["label"]) == (task.key, "internal")
    assert "canary" not in str(message)


def test_a_resume_sends_what_was_missed_once_and_in_order(server: Server):
    team = make_team()
    agent = make_agent(team)
    start = head(team.id)
    for _ in range(700):
        log(agent)
    for query, is_header in (("", True), ("after={}", False), ("after=1", True)):
        with opened(server, agent, query.format(start), last=start if is_header else None) as stream:
            seqs = [message.id for message in stream.events(700)]
            assert seqs == list(range(start + 1, start + 701))
            log(agent)
            assert stream.events(1)[0].id == head(team.id)
        start += 1


def test_only_those_hear_whose_clearance_allows(server: Server):
    team = make_team()
    high, low = make_agent(team, 2, ["finance"]), make_agent(team)
    task = make_task(high.viewer, Sensitivity.CONFIDENTIAL, ["finance"])
    after = head(team.id)
    with opened(server, high) as of_high, opened(server, low) as of_low:
        log(high, task=task.key)  # under a label that is new
        log(high, task=task.key, sensitivity=1, compartments=[])
        log(high, private=True)
        log(low)
        seen = [(message.data["label"], message.data.get("task")) for message in of_high.events(4)]
        assert seen[:2] == [("confidential+finance", task.key), ("internal", task.key)]
        live = of_low.events(2)
        assert [(message.data["label"], message.data.get("task")) for message in live] == [("internal", None)] * 2
    with opened(server, low, last=after) as again:
        assert again.events(2) == live, "the same from the ledger as it was live"
        # A resume does not read the hidden range again: an id without an event tells how far all was sent.
        while again.last != head(team.id):
            again.message()


def test_filters_are_those_of_the_long_poll(server: Server):
    team = make_team()
    agent = make_agent(team)
    one, other = make_task(agent.viewer), make_task(agent.viewer)
    after = head(team.id)
    with opened(server, agent, f"types=decision,observation.log&task={one.key}") as live:
        log(agent, task=other.key)
        log(agent)
        made = log(agent, task=one.key)
        decided, _ = decisions.record(agent.viewer, item=NewDecision(task=one.key, decision="d", reasoning="r"))
        found = live.events(2)
    assert [message.data["id"] for message in found] == [str(made.id), str(decided)]
    with opened(server, agent, f"types=decision,observation.log&task={one.key}", last=after) as again:
        assert again.events(2) == found


def test_a_cursor_that_cannot_be_resumed_from_is_told_so(server: Server):
    team = make_team()
    agent = make_agent(team)
    now = head(team.id)
    for query, headers in ((f"after={now + 1}", {}), ("", {"Last-Event-ID": str(now + 1)})):
        reply = refusal(server, agent, query, **headers)
        assert (reply.status_code, reply.json()["code"]) == (410, "resync")
        assert (reply.json()["floor"], reply.json()["head"]) == (0, now)
    for bad in ("", "x", "-1", "1.5", "01", "9" * 20):
        reply = refusal(server, agent, **{"Last-Event-ID": bad})
        assert reply.status_code == 400


def test_an_idle_stream_is_kept_alive_and_says_how_far_it_is(server: Server):
    team = make_team()
    agent, high = make_agent(team), make_agent(team, 2)
    with opened(server, agent) as stream:
        log(high, sensitivity=2)
        while stream.last != head(team.id):
            assert stream.message().event == "", "nothing is to be seen"


def test_rights_that_are_taken_away_end_the_stream_within_two_seconds(server: Server):
    team = make_team()
    system = system_viewer(team.id)

    def lower(agent):
        rights = {"role": "agent", "clearance": 0, "compartments": []}
        memberships.change(system, member=agent.membership, is_active=True, **rights)

    def dismiss(agent):
        rights = {"role": "agent", "clearance": 1, "compartments": []}
        memberships.change(system, member=agent.membership, is_active=False, **rights)

    def revoke(agent):
        keys.revoke(system, key=ApiKey.objects.get(id=agent.key_id))

    other = make_agent(team)
    for take_away in (lower, dismiss, revoke):
        agent = make_agent(team)
        with opened(server, agent) as stream:
            log(other)
            assert stream.events(1)
            take_away(agent)
            begun = time.monotonic()
            time.sleep(2)
            log(other)
            # A beat, which says only how far all was sent, may come before it is ended.
            assert [message for message in stream.until_end() if message.event or message.data] == []
            assert time.monotonic() - begun < 3, take_away.__name__


def places_are_free(server: Server, agent) -> bool:
    with opened(server, agent) as stream:
        return stream.response.status_code == 200


def test_a_client_that_goes_away_frees_its_place(server: Server):
    agent = make_agent(make_team())
    for _ in range(20):
        with opened(server, agent):
            pass
        time.sleep(0.05)
    assert places_are_free(server, agent)


def test_streams_hold_no_thread(server: Server):
    process = psutil.Process(server.process.popen.pid)
    agents = [make_agent(make_team()) for _ in range(3)]
    for agent in agents * 8:
        with opened(server, agent):
            pass
    before = process.num_threads()
    clients = [httpx2.Client(timeout=30) for _ in range(20)]
    streams = []
    for number, client in enumerate(clients):
        request = client.build_request("GET", f"{server.url}/api/v1/feed/stream", headers=agents[number % 3].headers)
        streams.append(client.send(request, stream=True))
    assert {stream.status_code for stream in streams} == {200}
    assert process.num_threads() <= before + 4
    for client in clients:
        client.close()


def test_a_server_that_stops_ends_its_streams():
    agent = make_agent(make_team())
    with web("web-stops") as server, opened(server, agent) as stream:
        process = server.process
        log(agent)
        assert stream.events(1)
        process.popen.terminate()
        begun = time.monotonic()
        with contextlib.suppress(httpx2.RemoteProtocolError):  # broken off rather than ended: the client resumes
            assert stream.until_end() == []
        assert process.popen.wait(timeout=10) is not None
        assert time.monotonic() - begun < 8


@pytest.mark.prove
def test_a_stream_that_is_not_read_is_ended_and_delays_nobody(server: Server, full: bool):
    """I17."""
    team = make_team()
    agent = make_agent(team)
    # The kernels' buffers alone take some megabytes of what is not read: many events, or few and large ones.
    events, batch, size = (10_000, 1, 2_000) if full else (300, 3, 12_000)
    # What else the machine does meanwhile falls on both: the same events, told by a process that has no slow reader.
    with web("web-alone") as other, opened(other, agent) as apart, opened(server, agent) as well:
        before, ends = memory_of(server), ended(server)
        slow = stopped_stream(server, agent)
        alone, beside = [], []
        for _ in range(events):
            begun = time.monotonic()
            happen(agent, batch, size)
            for reader, delays in ((apart, alone), (well, beside)):
                reader.events(batch)
                delays.append(time.monotonic() - begun)
        assert ended(server) == ends + 1, "the slow stream was not ended"
        assert memory_of(server) - before < 48 * 1024 * 1024
    assert percentile(beside, 0.99) < max(0.5, 2 * percentile(alone, 0.99))
    slow.settimeout(10)
    while slow.recv(1 << 20):
        pass  # what the kernels still held; then the connection is over, not merely forgotten


def happen(agent, count: int, size: int) -> None:
    """So many events at once, each with so many bytes."""
    with viewer_transaction(agent.viewer):
        label = ensure_label(agent.viewer, Sensitivity.INTERNAL).id
        for _ in range(count):
            events.append(agent.viewer, "task.renew", label=label, row_type="task", row_id=None, data={"x": "x" * size})


def stopped_stream(server: Server, agent) -> sockets.socket:
    """A stream whose reader never reads on, with small buffers of its own."""
    host, port = server.url.removeprefix("http://").split(":")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    lines = ("GET /api/v1/feed/stream HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {agent.key}", "", "")
    raw.sendall("\r\n".join(lines).encode())
    assert raw.recv(12) == b"HTTP/1.1 200"
    return raw


def ended(server: Server) -> float:
    """How many streams the server has ended because they were slow."""
    return metrics(server).get(("memoryhub_streams_ended_total", 'reason="slow"'), 0.0)
