"""Import over HTTP: what the command does, by the agent whose key it is, with a result for each run."""

import hashlib
from functools import partial
from typing import Any

import msgspec
import pytest

from agents.models import DEFAULT_SCOPES, Scope
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, Reply, at_once, make_api
from tests.support.factories import unique
from tests.support.runs import BAD, DONE, HANDED, USER, assistant, call

WHERE = "import/trajectories"
NOTHING = {"tasks": 0, "observations": 0, "decisions": 0, "escalations": 0}


@pytest.fixture
def importer(team: Team) -> Api:
    """Its key is for importing only."""
    return make_api(team, scopes=[Scope.IMPORT], name="importer")


@pytest.fixture
def reader(team: Team) -> Api:
    return make_api(team)


def send(api: Api, *runs: Any, key: str | None = None, **options: Any) -> Reply:
    return api.post(WHERE, {"runs": list(runs), **options}, key=key)


def statuses(reply: Reply) -> list[str]:
    return [result["status"] for result in reply.data["results"]]


def counts(reader: Api) -> tuple[int, int, int]:
    return tuple(len(reader.results(f"{noun}?limit=100")) for noun in ("tasks", "decisions", "escalations"))  # type: ignore[return-value]


def test_runs_become_tasks_with_all_that_was_said_and_done(importer: Api, reader: Api) -> None:
    reply = send(importer, DONE, HANDED)
    assert (reply.status, statuses(reply)) == (200, ["created", "created"])
    first, second = reply.data["results"]
    assert first == {
        "index": 0,
        "task": "7-0",
        "status": "created",
        "made": {"tasks": 1, "observations": 8, "decisions": 1, "escalations": 0},
    }
    assert second["made"] == {"tasks": 1, "observations": 2, "decisions": 0, "escalations": 1}
    assert reply.data["made"] == {"tasks": 2, "observations": 10, "decisions": 1, "escalations": 1}
    done, handed = reader.get("tasks/7-0").data, reader.get("tasks/8-2").data
    assert (done["status"], done["author"], done["outcome"]["reward"]) == ("done", "importer", 1.0)
    assert handed["status"] == "escalated"
    # The prompt, and the thought and its empty result, are the importing agent's own.
    assert len(reader.results("observations?task=7-0&agent=importer")) == 5


def test_sending_them_again_doubles_nothing(importer: Api, reader: Api) -> None:
    send(importer, DONE, HANDED)
    before = counts(reader)
    again = send(importer, HANDED, DONE)
    assert (again.status, statuses(again), again.data["made"]) == (200, ["duplicate"] * 2, NOTHING)
    assert counts(reader) == before


def test_several_at_once_make_each_run_once(importer: Api, reader: Api) -> None:
    runs = [{**DONE, "task_id": number} for number in range(4)]
    got = at_once(*(partial(send, importer, *order) for order in (runs, runs[::-1], runs)))
    assert {reply.status for reply in got} == {200}
    for number in range(4):
        told = [result for reply in got for result in reply.data["results"] if result["task"] == f"{number}-0"]
        assert sorted(result["status"] for result in told) == ["created", "duplicate", "duplicate"]
    assert counts(reader) == (4, 4, 0)


def test_with_an_idempotency_key_the_answer_is_the_same(importer: Api) -> None:
    key = unique("key")
    first = send(importer, DONE, {"messages": []}, key=key)
    assert (first.status, statuses(first)) == (207, ["created", "error"])
    again = send(importer, DONE, {"messages": []}, key=key)
    assert (again.status, again.data) == (first.status, first.data)
    assert send(importer, HANDED, key=key).refusal == (422, "idempotency_mismatch")
    key = unique("key")
    runs = [{**HANDED, "task_id": number} for number in range(3)]
    got = at_once(*(partial(send, importer, *runs, key=key) for _ in range(3)))
    assert [reply.data for reply in got] == [got[0].data] * 3
    assert statuses(got[0]) == ["created"] * 3


def test_the_wrong_ones_are_told_and_the_good_ones_stored(importer: Api, reader: Api) -> None:
    wrong: list[tuple[Any, str, int]] = [
        (5, "/runs/1", 400),
        ({"task_id": 1}, "/runs/2/messages", 400),
        ({"task_id": 1, "messages": []}, "/runs/3/messages", 400),
        ({"task_id": 1, "messages": [{"role": "user", "content": 5}]}, "/runs/4/messages/0/content", 400),
        ({"task_id": {"a": 1}, "messages": [USER]}, "/runs/5/task_id", 400),
        ({"task_id": "a/b", "messages": [USER]}, "/runs/6/task_id", 400),
        ({"task_id": "time", "messages": [{**USER, "timestamp": "today"}]}, "/runs/7/messages/0/timestamp", 400),
        ({"task_id": "tool", "messages": [USER, assistant(call("no name"))]}, "/runs/8/messages/1", 400),
        (DONE, "/runs/9", 409),
        ({**DONE, "messages": [USER] * 10_001}, "/runs/10/messages", 413),
        ({"task_id": "more", "messages": [USER], "tools": []}, "/runs/11/tools", 400),
    ]
    reply = send(importer, DONE, *(run for run, _, _ in wrong), HANDED)
    assert reply.status == 207
    first, *results, last = reply.data["results"]
    assert (first["status"], last["status"]) == ("created", "created")
    for result, (_, pointer, status) in zip(results, wrong, strict=True):
        assert (result["status"], result["error"]["status"], result["made"]) == ("error", status, NOTHING)
        assert [fault["pointer"] for fault in result["error"]["errors"]] == [pointer]
    assert counts(reader) == (2, 1, 1)


def test_whatever_the_command_refuses_is_refused_here(importer: Api, reader: Api) -> None:
    for line, what in BAD:
        reply = importer.post(WHERE, b'{"runs": [' + line + b"]}")
        assert reply.status in (207, 400, 413), (what, reply)
    assert counts(reader) == (0, 0, 0)


def test_a_task_that_holds_something_else_is_not_mixed_with_it(importer: Api, reader: Api) -> None:
    send(importer, DONE)
    reply = send(importer, {**DONE, "messages": [*DONE["messages"], USER]})
    assert (reply.status, reply.data["results"][0]["error"]["code"]) == (207, "already_exists")
    assert counts(reader) == (1, 1, 0)


def test_the_options_are_the_commands(importer: Api, reader: Api) -> None:
    run = {**HANDED, "messages": [USER, assistant(call("get_order")), assistant(call("call_a_person", why="Lost."))]}
    reply = send(importer, run, prefix="second-", acting_tools=["get_*"], handoff_tool="call_a_person")
    assert reply.data["results"][0]["task"] == "second-8-2"
    assert counts(reader) == (1, 1, 1)
    assert send(importer, run, prefix="a b").refusal == (400, "invalid")
    assert importer.post(WHERE, {"runs": []}).refusal == (400, "invalid")
    assert send(importer, *[DONE] * 101).refusal == (400, "invalid")


def test_it_has_a_scope_of_its_own_which_opens_nothing_else(importer: Api, reader: Api) -> None:
    assert send(make_api_with(reader, DEFAULT_SCOPES), DONE).refusal == (403, "forbidden")
    assert importer.post("tasks", {"key": "t", "title": "T"}).refusal == (403, "forbidden")
    assert importer.get("tasks").refusal == (403, "forbidden")


def make_api_with(api: Api, scopes: Any) -> Api:
    assert api.agent is not None
    return make_api(api.agent.membership.team, scopes=scopes)


def test_what_is_imported_is_no_higher_than_the_agents_clearance(team: Team) -> None:
    low = make_api(team, Sensitivity.PUBLIC, scopes=Scope.values)
    assert send(low, DONE).status == 200
    assert low.get("tasks/7-0").data["sensitivity"] == "public"
    # A task of the same key above it is as good as absent.
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    high.make("tasks", {"key": "8-2", "title": "Hidden", "sensitivity": "confidential"})
    assert statuses(send(low, HANDED)) == ["created"]


def test_rows_of_an_earlier_version_are_recognised_and_what_it_dropped_is_added(team: Team) -> None:
    """It had the same client_refs and the same digest of the messages."""
    api = make_api(team, scopes=Scope.values)
    digest = hashlib.sha256(msgspec.json.encode(DONE["messages"], order="sorted")).hexdigest()
    source = {"task_id": 7, "trial": 0, "reward": 1.0, "messages": digest}
    api.make("tasks", {"key": "7-0", "title": "Where is my parcel?", "metadata": {"imported": source}})
    token = api.make("tasks/7-0/claim")["token"]
    old = ["7-0:0", "7-0:1", "7-0:3", "7-0:5", "7-0:6.0", "7-0:9", "7-0:10"]
    for ref in old:
        api.make("observations", {"task": "7-0", "content": f"as {ref} was", "client_ref": ref})
    decided = {"tool": "send_parcel", "arguments": {"number": 5}}
    api.make("decisions", {"task": "7-0", "decision": decided, "reasoning": "It is lost.", "client_ref": "7-0:8.0"})
    api.make("tasks/7-0/complete", {"token": token})
    reply = send(api, DONE)
    made = {"tasks": 0, "observations": 1, "decisions": 0, "escalations": 0}
    assert [(result["status"], result["made"]) for result in reply.data["results"]] == [("created", made)]
    rows = api.results("observations?task=7-0&limit=100")
    assert {row["client_ref"] for row in rows} == {*old, "7-0:7"}
    assert statuses(send(api, DONE)) == ["duplicate"]
