"""What the desk's socket sends: who sees what, resuming, and a client that does not read."""

import json
import os
import signal
import socket as sockets
import time
from contextlib import suppress
from uuid import uuid4

import httpx2
import orjson
import pytest
import redis
from django.conf import settings
from websockets.frames import Frame, Opcode

from escalations.actions import claims, notes
from memoryhub.core.actions import feed
from memoryhub.core.models import Sensitivity
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.interface.server.protocol import SHARED_CHARS
from memoryhub.memory.actions import observations
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.desk_socket import desk, heard
from tests.support.factories import Person, make_agent, make_person, make_team
from tests.support.labelled_world import ask, make_task
from tests.support.ledger import head
from tests.support.signing_in import sign_in
from tests.support.timing import percentile
from tests.support.web import Server, memory_of, metrics, web


def silent(socket, seconds: float = 1.5) -> bool:
    """Whether nothing but beats comes."""
    try:
        while orjson.loads(socket.recv(timeout=seconds))["type"] == "beat":
            pass
    except TimeoutError:
        return True
    return False


def test_an_escalation_is_told_at_once_with_its_row(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    socket, first = desk(server, sam, head(team.id))
    with socket:
        assert [frame["type"] for frame in first] == ["ready"]
        escalation = ask(agent, task, "brown cow")
        (frame,) = heard(socket, 1)
        assert (frame["event"], frame["escalation"], frame["task"]) == (
            "escalation.escalate",
            str(escalation.id),
            str(task.id),
        )
        assert frame["by"] == agent.name
        assert frame["seq"] == head(team.id)
        assert "brown cow" in frame["row"]
        assert frame["item"] is None
        claims.claim(sam.viewer, escalation_id=escalation.id)
        (frame,) = heard(socket, 1)
        assert frame["event"] == "escalation.claim"
        assert sam.name in frame["row"]


def test_a_frame_is_for_those_whose_clearance_dominates_the_label(server: Server):
    team = make_team()
    agent = make_agent(team, Sensitivity.CONFIDENTIAL, ["finance"]).viewer
    people = {
        "high": make_person(team, "support", Sensitivity.CONFIDENTIAL, ["finance", "pii"]),
        "level only": make_person(team, "support", Sensitivity.CONFIDENTIAL),
        "words only": make_person(team, "support", Sensitivity.INTERNAL, ["finance"]),
        "other words": make_person(team, "support", Sensitivity.CONFIDENTIAL, ["pii"]),
    }
    after = head(team.id)
    opened = {name: desk(server, person, after)[0] for name, person in people.items()}
    # The label itself is new: whoever listed the team's labels before does not know of it.
    hidden = ask(agent, make_task(agent, Sensitivity.CONFIDENTIAL, ["finance"]), "canary")
    (frame,) = heard(opened["high"], 1)
    assert frame["escalation"] == str(hidden.id)
    assert "canary" not in json.dumps(frame), "a shared frame carries no sealed text"
    assert "Confidential: open to read" in frame["row"]
    shown = ask(agent, make_task(agent), "public word")
    for name in ("level only", "words only", "other words"):
        (frame,) = heard(opened[name], 1)
        assert frame["escalation"] == str(shown.id), name
    # The same after a break, from the ledger.
    for name, person in people.items():
        again, missed = desk(server, person, after)
        asked = [frame["escalation"] for frame in missed if frame["type"] == "event"]
        assert asked == ([str(hidden.id), str(shown.id)] if name == "high" else [str(shown.id)]), name
        assert "canary" not in json.dumps(missed)
        again.close()
    for socket in opened.values():
        socket.close()


def test_events_that_come_together_are_sent_whole_and_in_their_order(server: Server):
    """Though not all of them fit into one piece (of 64 Ki characters), and one of them into none."""
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    ask(agent, task)
    batches = [100, *(1, 20, 3) * 8]
    pages = [desk(server, sam, head(team.id), task.id)[0] for _ in range(3)]
    server.process.popen.send_signal(signal.SIGSTOP)  # so that it reads them all at once
    try:
        for number, count in enumerate(batches):
            item = NewObservation(content=f"number {number}; " + "long words " * 50, task=task.key)
            observations.log_batch(agent, items=[item] * count)
    finally:
        server.process.popen.send_signal(signal.SIGCONT)
    for page in pages:
        with page:
            found = heard(page, len(batches))
            assert [frame["seq"] for frame in found] == [*range(head(team.id) - len(batches) + 1, head(team.id) + 1)]
            assert [frame["item"].count(f"number {at}; ") for at, frame in enumerate(found)] == batches
            sizes = [len(frame["item"]) for frame in found]
            assert sizes[0] > SHARED_CHARS, "the control: it fits into a piece"
            assert sum(sizes[1:]) > 2 * SHARED_CHARS, "the control: they fit into a piece"


def test_items_come_for_the_task_that_is_open_only(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    mine, other = make_task(agent), make_task(agent)
    ours = ask(agent, mine)
    after = head(team.id)
    watching, _ = desk(server, sam, after, mine.id)
    at_queue, _ = desk(server, sam, after)
    with watching, at_queue:
        observations.log(agent, item=NewObservation(content="not yours", task=other.key))
        observations.log(agent, item=NewObservation(content="my own thought", task=mine.key, private=True))
        observations.log(agent, item=NewObservation(content="seen <b>live</b>", task=mine.key))
        (frame,) = heard(watching, 1)
        assert frame["event"] == "observation.log"
        assert "seen &lt;b&gt;live&lt;/b&gt;" in frame["item"]
        claims.claim(sam.viewer, escalation_id=ours.id)
        notes.note(sam.viewer, escalation_id=ours.id, text="a note of mine")
        _, note = heard(watching, 2)
        assert "a note of mine" in note["item"]
        plain = heard(at_queue, 2)
        assert [frame["event"] for frame in plain] == ["escalation.claim", "escalation.note"]
        assert all(frame["row"] and frame["item"] is None for frame in plain)
        assert silent(watching)


def test_a_frame_says_whether_the_row_fits_the_page(server: Server):
    team = make_team()
    agent, sam, lee = make_agent(team).viewer, make_person(team, name="sam"), make_person(team, name="lee")
    after = head(team.id)
    views = {"": (True, True), "owner=none": (True, False), "status=queued": (True, False), "q=cow": (True, True),
             "q=co%20w": (False, False), "priority=urgent": (False, False)}  # fmt: skip
    sockets = {(view, fits): desk(server, lee, after, view=view)[0] for view, fits in views.items()}
    sockets["owner=me", (False, True)] = desk(server, sam, after, view="owner=me")[0]
    sockets["owner=me", (False, False)] = desk(server, lee, after, view="owner=me")[0]
    escalation = ask(agent, make_task(agent), "brown cow")
    # A frame shows the row as it is when it is sent: each is read before the row changes.
    said = {view: heard(socket, 1) for view, socket in sockets.items()}
    claims.claim(sam.viewer, escalation_id=escalation.id)
    for (view, fits), socket in sockets.items():
        with socket:
            frames = said[view, fits] + heard(socket, 1)
            assert tuple(frame["fits"] for frame in frames) == fits, view


def test_private_reasoning_is_announced_to_the_holder_who_shows_it_only(server: Server):
    team = make_team()
    agent, sam, lee = make_agent(team).viewer, make_person(team), make_person(team)
    task = make_task(agent)
    claims.claim(sam.viewer, escalation_id=ask(agent, task).id)
    after = head(team.id)
    sockets = [desk(server, person, after, task.id, view)[0] for person, view in ((sam, ""), (lee, "private=true"))]
    with desk(server, sam, after, task.id, "private=true")[0] as holders:
        made = observations.log(agent, item=NewObservation(content="my own thought", task=task.key, private=True))
        (frame,) = heard(holders, 1)
        assert frame["ask"] == [str(made.id)]
        assert frame["item"] is None
        assert "thought" not in json.dumps(frame)
    for socket in sockets:
        with socket:
            assert silent(socket, 1)


def test_a_task_of_another_team_or_none_opens_nothing(server: Server):
    other = make_agent(make_team()).viewer
    task = make_task(other)
    team = make_team()
    sam = make_person(team)
    for watched in (task.id, uuid4()):
        socket, first = desk(server, sam, 0, watched)
        with socket:
            assert {frame.get("task") for frame in first} <= {None}
            observations.log(other, item=NewObservation(content="elsewhere", task=task.key))
            assert silent(socket, 1)


def test_a_resume_sends_what_was_missed_in_order_and_no_gap(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    made = [observations.log(agent, item=NewObservation(content=f"n{i}", task=task.key)) for i in range(600)]
    socket, first = desk(server, sam, 0, task.id)
    with socket:
        seqs = [frame["seq"] for frame in first if frame["type"] == "event" and frame["event"] == "observation.log"]
        assert len(seqs) == len(made)
        assert seqs == sorted(set(seqs))
        assert first[-1]["seq"] >= seqs[-1]
    again, rest = desk(server, sam, seqs[-11], task.id)
    with again:
        assert [frame["seq"] for frame in rest if frame["type"] == "event"] == seqs[-10:]


def test_a_cursor_of_the_future_or_too_old_is_told_so(server: Server, owner_sql):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    socket, first = desk(server, sam, head(team.id) + 1)
    with socket:
        assert [frame["type"] for frame in first] == ["resync", "ready"]
        ask(agent, make_task(agent))
        assert heard(socket, 1)[0]["event"] == "escalation.escalate", "and goes on live"
    # 10,001 events behind, of a team that wrote them all at once.
    with viewer_transaction(agent):
        from memoryhub.core.access.labels import ensure_label
        from memoryhub.core.ledger import events

        label = ensure_label(agent, Sensitivity.INTERNAL).id
        for _ in range(10_001):
            events.append(agent, "task.claim", label=label, row_type="task", row_id=None)
    now = head(team.id)
    socket, first = desk(server, sam, now - 10_001)
    with socket:
        assert [frame["type"] for frame in first] == ["resync", "ready"]
        assert first[0]["floor"] == now - 10_000
        assert first[1]["seq"] == now
    socket, first = desk(server, sam, now - 10_000)
    with socket:
        assert [frame["type"] for frame in first] == ["ready"]


def test_a_cursor_below_the_pruned_floor_is_told_so(server: Server, owner_sql):
    team = make_team()
    sam = make_person(team)
    make_agent(team)
    owner_sql.execute("update event set at = at - interval '60 days' where team_id = %s", [team.id])
    now = head(team.id)
    assert feed.prune(system_viewer(team.id)) == now
    for after, kinds in ((now - 1, ["resync", "ready"]), (now, ["ready"])):
        socket, first = desk(server, sam, after)
        with socket:
            assert [frame["type"] for frame in first] == kinds
            assert first[0].get("floor") == (now if len(kinds) == 2 else None)


def test_lost_bells_only_delay_and_the_doorbell_comes_back(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    socket, _ = desk(server, sam, head(team.id), task.id)
    with socket, redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") > 0
        observations.log(agent, item=NewObservation(content="no bell", task=task.key))
        assert heard(socket, 1, seconds=3)[0]["event"] == "observation.log"
        time.sleep(3)
        delays = []
        for number in range(6):
            begun = time.monotonic()
            observations.log(agent, item=NewObservation(content=f"bell {number}", task=task.key))
            heard(socket, 1)
            delays.append(time.monotonic() - begun)
            time.sleep(0.3 + number / 10)
    assert sorted(delays)[3] < 0.5, f"slower than the poll alone would be: {delays}"


def test_a_beat_says_how_far_all_was_sent(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    socket, _ = desk(server, sam, head(team.id))
    with socket:
        observations.log(agent, item=NewObservation(content="not for the queue", task=task.key))
        told = 0
        for _ in range(2):  # one may have been on its way
            if told < head(team.id):
                told = heard(socket, 1, seconds=13, type="beat")[0]["seq"]
    assert told == head(team.id)


@pytest.mark.prove
def test_a_socket_that_stops_reading_is_ended_and_delays_nobody(server: Server, full: bool):
    """I17."""
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    # The kernels' buffers alone take some 15 MB of what is not read: many events, or few and large ones.
    events, items = (10_000, 1) if full else (300, 20)
    item = NewObservation(content={f"key{key}": "x" * 200 for key in range(20)}, task=task.key)
    # What else the machine does meanwhile falls on both: the same events, told by a process that has no slow reader.
    with (
        web("web-alone") as other,
        desk(other, sam, head(team.id), task.id)[0] as apart,
        desk(server, sam, head(team.id), task.id)[0] as well,
    ):
        before, ends = memory_of(server), ended(server)
        slow = stopped_socket(server, sam, json.dumps({"after": head(team.id), "task": str(task.id)}))
        alone, beside = [], []
        for _ in range(events):
            begun = time.monotonic()
            observations.log_batch(agent, items=[item] * items)
            for socket, delays in ((apart, alone), (well, beside)):
                heard(socket, 1)
                delays.append(time.monotonic() - begun)
        assert ended(server) == ends + 1, "the slow socket was not ended"
        assert memory_of(server) - before < 48 * 1024 * 1024
    assert percentile(beside, 0.99) < max(0.5, 2 * percentile(alone, 0.99))
    slow.settimeout(10)
    # What the kernels still held; then the connection is over, not merely forgotten. After minutes without a reader the
    # server's kernel gives it up, too, and says so with a reset.
    with suppress(ConnectionResetError):
        while slow.recv(1 << 20):
            pass


def stopped_socket(server: Server, person: Person, hello: str) -> sockets.socket:
    """A person's socket that says hello and never reads, not even in a thread of a library."""
    host, port = server.url.removeprefix("http://").split(":")
    raw = sockets.create_connection((host, int(port)))
    lines = (
        f"GET /ws/t/{person.membership.team.slug}/queue/ HTTP/1.1",
        f"Host: {host}:{port}",
        f"Origin: {server.url}",
        f"Cookie: sessionid={sign_in(person)}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert raw.recv(12) == b"HTTP/1.1 101"
    raw.sendall(Frame(Opcode.TEXT, hello.encode()).serialize(mask=True))
    return raw


def ended(server: Server) -> float:
    """How many sockets the server has ended because they were slow."""
    return metrics(server).get(("memoryhub_sockets_ended_total", 'code="4408"'), 0.0)


def test_an_event_with_more_than_a_socket_holds_comes_with_items_that_are_opened(server: Server):
    team = make_team()
    agent, sam = make_agent(team).viewer, make_person(team)
    task = make_task(agent)
    escalation = ask(agent, task)
    after = head(team.id)
    socket, _ = desk(server, sam, after, task.id)
    # Each character that cannot be seen is shown as some seventy, but where it is as the one before.
    items = [
        NewObservation(content={"a": "\u200b\u200c" * 2000 + "x"}, task=task.key, tags=["y" * 100] * 20)
        for _ in range(500)
    ]
    done = [result.id for result in observations.log_batch(agent, items=items)]
    observations.log(agent, item=NewObservation(content="after", task=task.key))
    for is_live in (True, False):
        opened, missed = (socket, []) if is_live else desk(server, sam, after, task.id)
        with opened:
            large, small = heard(opened, 2, seconds=60) if is_live else [f for f in missed if f["type"] == "event"]
            assert len(large["item"]) < 2 * 1024 * 1024
            assert all(f'data-item="{row}"' in large["item"] for row in done)
            assert large["item"].count("Open to read") > 490
            assert "U+200B" in large["item"]
            assert "after" in small["item"]
            assert silent(opened), "it is not ended"
    whole = httpx2.get(
        f"{server.url}/escalations/{escalation.id}/items/{done[-1]}/",
        cookies={settings.SESSION_COOKIE_NAME: sign_in(sam)},
    )
    assert whole.text.count("U+200B") == 2000
