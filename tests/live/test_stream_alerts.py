"""Alerts in the stream: pushed at once to whom they were sent, and again until they acknowledge them."""

import time

from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.interface.http.json import dump
from memoryhub.memory.actions import alerts, observations
from memoryhub.memory.schemas.alerts import NewAlert
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.factories import make_agent, make_team
from tests.support.labelled_world import make_task
from tests.support.ledger import head
from tests.support.streams import log, opened, poll
from tests.support.web import Server


def send(sender, *recipients, insight="hold all deals", **more):
    made, _ = alerts.send(
        sender.viewer, to=[one.membership for one in recipients], item=NewAlert(to="all", insight=insight, **more)
    )
    return str(made)


def test_an_alert_is_pushed_at_once_to_whom_it_was_sent_and_nobody_else(server: Server):
    team = make_team()
    ann, ben, cid = (make_agent(team) for _ in range(3))
    deaf = make_agent(team, scopes=["memory:read"])
    after = head(team.id)
    with opened(server, ann) as of_ann, opened(server, ben) as of_ben, opened(server, cid) as of_cid:
        begun = time.monotonic()
        made = send(ann, ben, deaf, severity="critical")
        pushed, event = of_ben.events(2)
        assert time.monotonic() - begun < 1.5
        assert (pushed.event, pushed.id, pushed.data["id"], pushed.data["insight"]) == (
            "alert",
            None,
            made,
            "hold all deals",
        )
        assert (pushed.data["severity"], pushed.data["author"]) == ("critical", ann.name)
        assert (event.event, event.id, event.data["id"]) == ("alert.send", head(team.id), made)
        assert event.data["data"] == {"severity": "critical", "recipients": 2}
        assert [message.event for message in of_ann.events(1)] == ["alert.send"], "its sender has it already"
        alerts.acknowledge(ben.viewer, alert_id=pushed.data["id"])
        (receipt,) = of_ann.events(1)
        assert (receipt.event, receipt.data["author"], receipt.data["id"]) == ("alert.acknowledge", ben.name, made)
        log(cid)
        assert [message.event for message in of_cid.events(1)] == ["observation.log"], "it was sent to others"

    def polled(agent) -> list[str]:
        return [event["type"] for event in poll(server, agent, f"after={after}").json()["events"]]

    assert polled(ann) == polled(ben) == ["alert.send", "alert.acknowledge", "observation.log"]
    assert polled(deaf) == ["alert.send", "observation.log"], "a receipt is between the two"
    assert polled(cid) == ["observation.log"]
    with opened(server, deaf, last=after) as of_deaf:
        assert [message.event for message in of_deaf.events(2)] == ["alert.send", "observation.log"]


def test_what_is_open_comes_again_on_every_beginning_until_it_is_acknowledged(server: Server):
    team = make_team()
    ann, ben = make_agent(team), make_agent(team)
    made = [send(ann, ben, insight=f"n{number}") for number in range(3)]
    for left in (made, made, made[1:]):
        if len(left) == 2:
            alerts.acknowledge(ben.viewer, alert_id=made[0])
        with opened(server, ben) as stream:
            assert [(message.event, message.data["id"]) for message in stream.events(len(left))] == [
                ("alert", one) for one in left
            ]
            log(ann)
            assert stream.events(1)[0].event in ("alert.acknowledge", "observation.log")
    # What was missed comes from the ledger, and the alert once beside it.
    with opened(server, ben, last=0) as stream:
        seen = stream.events(9)
    assert [message.event for message in seen].count("alert.send") == 3
    assert [message.data["id"] for message in seen if message.event == "alert"] == made[1:]


def test_filters_hold_for_alerts_as_well(server: Server):
    team = make_team()
    ann, ben = make_agent(team), make_agent(team)
    task = make_task(ann.viewer)
    made = send(ann, ben, task=task.key)
    send(ann, ben)
    with opened(server, ben, f"task={task.key}") as of_task, opened(server, ben, "types=observation") as of_others:
        assert [message.data["id"] for message in of_task.events(1)] == [made]
        send(ann, ben)
        observations.log(ann.viewer, item=NewObservation(content="x", task=task.key))
        assert [message.event for message in of_task.events(1)] == ["observation.log"]
        assert [message.event for message in of_others.events(1)] == ["observation.log"]


def test_a_stream_carries_no_sealed_text_and_reading_it_is_recorded(server: Server):
    team = make_team()
    ann, ben = make_agent(team, 2), make_agent(team, 2)
    with opened(server, ben) as stream:
        made = send(ann, ben, insight="canary", sensitivity=2)
        live, _ = stream.events(2)
    with opened(server, ben) as again:
        (pushed,) = again.events(1)
    assert live == pushed
    assert (pushed.data["id"], pushed.data["insight"], pushed.data["sensitivity"]) == (made, None, "confidential")
    with viewer_transaction(system_viewer(team.id), read_only=True):
        assert not AccessLog.objects.filter(row_id=made).exists()


def test_alerts_of_the_largest_size_begin_a_stream_within_an_answers_bytes(server: Server):
    team = make_team()
    ann, ben = make_agent(team), make_agent(team)
    made = [send(ann, ben, insight=f"{number}" + "\x01" * 19_990) for number in range(100)]
    with opened(server, ben, seconds=30) as stream:
        log(ann)
        begun, size = [], 0
        while (message := stream.message()).event != "observation.log":
            if message.event == "alert":
                begun.append(message.data["id"])
                size += len(dump(message.data))
    assert 7 * 1024 * 1024 < size <= 8 * 1024 * 1024
    assert begun == made[-len(begun) :], "the newest, the oldest of them first; the list has all"
