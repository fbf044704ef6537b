"""What an import may make of what was sent: bounded in bytes, calls, tools and time, and told to who goes beyond."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from memoryhub.core.models import Team
from memoryhub.core.work import doing
from tests.support.api import Api, Reply, make_api
from tests.support.leaving import Counting
from tests.support.runs import USER

MIB = 1024 * 1024


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, scopes=["import", "tasks", "memory:read"])


def call(name: str, arguments: Any = "{}", call_id: str = "") -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, "id": call_id}


def assistant(calls: list[Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": calls}


def told(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


def send(api: Api, *runs: list[Any], **options: Any) -> Reply:
    named = [{"task_id": f"run-{number}", "messages": messages} for number, messages in enumerate(runs)]
    return api.post("import/trajectories", {"runs": named, **options})


def faults(reply: Reply) -> list[tuple[int, str, str]]:
    """Of each run that was refused: status, place and code."""
    errors = [result["error"] for result in reply.data["results"] if result["status"] == "error"]
    return [(error["status"], error["errors"][0]["pointer"], error["errors"][0]["code"]) for error in errors]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The processor's time, which other tests beside this one take nothing of."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def stored(owner_sql: Any, team: Team) -> int:
    """Bytes of all text that the team's rows hold."""
    tables = ("observation", "decision", "escalation", "task")
    bodies = " union all ".join(f"select body from {table} where team_id = %(team)s" for table in tables)
    query = f"select coalesce(sum(octet_length(body::text)), 0) from ({bodies}) bodies"
    return int(owner_sql.execute(query, {"team": team.id}).fetchone()[0])


BIG = "x" * 250_000
RESULTS = [told("c")] * 2000
OLD = {"role": "assistant", "function_call": call("get_x", BIG)["function"]}
# One text that each of so many results or calls would repeat, and the message that goes too far.
REPEATED: dict[str, tuple[list[Any], int]] = {
    "arguments that are JSON": ([assistant([call("get_x", f'{{"a": "{BIG}"}}', "c")]), *RESULTS], 6),
    "arguments that are none": ([assistant([call("get_x", BIG, "c")]), *RESULTS], 6),
    "an object of arguments": ([assistant([call("get_x", {"a": BIG}, "c")]), *RESULTS], 6),
    "a call of the old form": ([OLD, *[{"role": "function", "name": "get_x", "content": "ok"}] * 2000], 6),
    "a reasoning": ([USER, assistant([call("book")] * 2000, "x" * 20_000)], 1),
    "a reasoning in four bytes": ([USER, assistant([call("book")] * 2000, "\U0001f426" * 20_000)], 1),
    "a summary": ([USER, assistant([call("transfer_to_human_agents")] * 2000, "Please. " * 2500)], 1),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_a_run_repeats_is_bounded_by_what_was_sent(api: Api, team: Team, owner_sql: Any, name: str) -> None:
    messages, place = REPEATED[name]
    with within(2):
        reply = send(api, messages, [USER])
    assert faults(reply) == [(413, f"/runs/0/messages/{place}", "too_large")]
    assert [result["status"] for result in reply.data["results"]] == ["error", "created"]
    assert stored(owner_sql, team) < 1000


def test_below_the_bound_each_result_has_its_arguments_and_each_call_its_reasoning(api: Api) -> None:
    calls = [call("book", {"seat": seat}, f"c{seat}") for seat in range(9)]
    messages = [assistant(calls, "y" * 25_000), *[told(f"c{seat}") for seat in range(9)] * 2]
    assert faults(send(api, messages)) == []
    decisions = api.results("decisions?task=run-0&limit=100")
    assert {row["reasoning"] for row in decisions} == {"y" * 20_000}
    rows = [row["content"] for row in api.results("observations?task=run-0&limit=100")]
    assert sorted(row["arguments"]["seat"] for row in rows if "result" in row) == sorted(list(range(9)) * 2)
    assert [row for row in rows if "result" not in row] == [{"part": 2, "of": 2, "reasoning": "y" * 5000}], "once"


def test_many_runs_store_no_more_than_their_bounds_together(api: Api, team: Team, owner_sql: Any) -> None:
    few = [assistant([call("get_x", "x" * 40_000, "c")]), *[told("c")] * 5]
    many = [assistant([call("get_x", "x" * 40_000, "c")]), *[told("c")] * 50]
    with within(3):
        reply = send(api, *[few, many] * 10)
    assert faults(reply) == [(413, f"/runs/{number}/messages/7", "too_large") for number in range(1, 20, 2)]
    assert stored(owner_sql, team) < 10 * 256 * 1024


def test_arguments_are_read_once_for_all_results(api: Api) -> None:
    """Spaces cost time and leave no bytes that could be counted."""
    spaces = f"[{' ' * 900_000}]"
    with within(3):
        assert faults(send(api, [assistant([call("get_x", spaces, "c")]), *[told("c")] * 8000])) == []


@pytest.mark.parametrize("tool", ["book", "transfer_to_human_agents"])
def test_a_text_is_looked_at_once_for_all_calls_beside_it(api: Api, tool: str) -> None:
    """Where it shows nothing it is looked at to its end. The second message is there so that nothing is stored."""
    with within(3):
        reply = send(api, [assistant([call(tool)] * 500, " " * 7_000_000), assistant([call("no name")])])
    assert faults(reply) == [(400, "/runs/0/messages/1", "bad_format")]


def test_a_run_has_so_many_calls(api: Api) -> None:
    messages = [assistant([call("get_x")] * 5000), assistant([call("get_x")] * 5001)]
    assert faults(send(api, messages)) == [(413, "/runs/0/messages", "too_long")]
    messages[1]["tool_calls"].pop()
    assert faults(send(api, messages)) == []


def test_a_file_is_described_for_so_many_results_only(api: Api) -> None:
    file = {"data": "x" * (4 * MIB)}
    with within(3):
        reply = send(api, [assistant([call("get_x", file, "c")]), *[told("c")] * 9000])
    assert faults(reply) == [(413, "/runs/0/messages/5", "too_large")]


def test_results_and_thoughts_count_as_calls_do(api: Api) -> None:
    thoughts = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}] * 5001}
    results = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}] * 5000}
    assert faults(send(api, [thoughts, results])) == [(413, "/runs/0/messages", "too_long")]


def test_an_import_has_so_many_messages_and_calls_in_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.imports.MAX_ROWS", 2000)
    runs = [[USER] * 500, [assistant([call("get_x")] * 499)], [USER] * 1001, [USER]]
    reply = send(api, *runs)
    assert faults(reply) == [(413, "/runs/2/messages", "too_long"), (413, "/runs/3/messages", "too_long")]
    assert [result["status"] for result in reply.data["results"]] == ["created", "created", "error", "error"]
    assert faults(send(api, runs[3], prefix="again-")) == []


# Patterns that take long with names of many a.
DEAR = [f"*{'[ab]' * 48}{number:02}" for number in range(100)]


def test_many_tools_against_many_patterns_take_little_time(api: Api) -> None:
    runs = [[assistant([call(f"{'a' * 190}{run}.{number}") for number in range(400)])] for run in range(20)]
    with within(4):
        reply = send(api, *runs, acting_tools=DEAR)
    assert faults(reply) == [(413, f"/runs/{number}/messages", "too_long") for number in range(1, 20)]


def test_few_tools_are_called_often_and_many_are_held_against_few_patterns(api: Api) -> None:
    often = [assistant([call(f"get_{number % 500}") for number in range(9000)])]
    many = [[assistant([call(f"get_{run}.{number}") for number in range(1000)])] for run in range(10)]
    with within(3):
        assert faults(send(api, often, acting_tools=DEAR)) == []
        assert faults(send(api, *many, prefix="many-")) == []


def test_a_name_that_is_no_tools_is_held_against_no_pattern(api: Api) -> None:
    with within(2):
        reply = send(api, [assistant([call("a" * MIB)])], acting_tools=DEAR)
    assert faults(reply) == [(400, "/runs/0/messages/0", "bad_format")]


def test_the_senders_patterns_are_not_kept(api: Api) -> None:
    """The library's own cache would keep 32,768 of them for good."""
    kept = fnmatch._compile_pattern.cache_info  # type: ignore[attr-defined]
    before = kept().currsize
    send(api, [assistant([call("get_x")])], acting_tools=[f"{number}*?x" for number in range(100)])
    assert kept().currsize == before


def test_patterns_mean_what_they_meant(api: Api) -> None:
    names = ["book_a", "book", "Book_a", "cancel1", "cancel12", "cancelx", "get_b"]
    messages = [assistant([call(name) for name in names])]
    send(api, messages, acting_tools=["book_*", "cancel?", "get_[!a]"])
    found = {row["decision"]["tool"] for row in api.results("decisions?task=run-0&limit=100")}
    assert found == {"book_a", "cancel1", "cancelx", "get_b"}


def test_what_the_task_keeps_of_a_run_is_bounded(api: Api) -> None:
    reply = api.post("import/trajectories", {"runs": [{"trial": "x" * MIB, "messages": [USER]}]})
    assert faults(reply) == [(400, "/runs/0/trial", "too_long")]
    assert faults(send(api, [assistant([call("book")], "x" * MIB)])) == []
    assert len(api.get("tasks/run-0").data["outcome"]["reply"]) == 40_000


def test_a_run_whose_client_leaves_while_it_is_planned_or_stored_is_not_there(
    api: Api, team: Team, owner_sql: Any
) -> None:
    messages = [assistant([call("book", {})]) for _ in range(24)]
    with doing(staying := Counting()):
        assert send(api, messages, prefix="first-").status == 200
    assert staying.asked >= 2 * 24
    before = stored(owner_sql, team)
    for asked in (staying.asked - 36, staying.asked - 12):
        with doing(leaving := Counting(asked)):
            assert send(api, messages).refusal == (503, "unavailable")
        assert leaving.asked <= asked + 3
        assert stored(owner_sql, team) == before
