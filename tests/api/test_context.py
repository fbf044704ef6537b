import json
from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.selectors.context import BYTES_PER_TOKEN
from tests.support.api import Api, make_api


@pytest.fixture(autouse=True)
def task(api: Api) -> str:
    api.make("tasks", {"key": "t", "title": "Restock the tents", "metadata": {"industry": "retail", "item": "tent"}})
    return "t"


def observe(api: Api, content: Any, **more: Any) -> str:
    return str(api.make("observations", {"task": "t", "content": content, **more})["id"])


def decide(api: Api, what: str) -> str:
    return str(api.make("decisions", {"task": "t", "decision": what, "reasoning": "Since."})["id"])


def ids(rows: list[Any]) -> list[str]:
    return [row["id"] for row in rows]


def context(api: Api, query: str = "") -> Any:
    reply = api.get(f"tasks/t/context{query}")
    assert reply.status == 200, reply
    return reply.data


def test_it_has_what_is_known_of_the_task_the_most_useful_first(api: Api, team: Team) -> None:
    plain = observe(api, "a plain one")
    important = observe(api, "an important one", importance=0.9)
    pinned = observe(api, "a pinned one", pinned=True)
    newest = observe(api, "the newest")
    decision = decide(api, "wait")
    api.send("PUT", "facts/tents", {"value": 3, "task": "t"}, headers={"If-None-Match": "*"})
    other = make_api(team)
    lesson = {"signal_type": "success", "details": "Restock early.", "context": {"industry": "retail"}}
    learned = other.make("learnings", lesson)["id"]
    found = context(api)
    assert ids(found["observations"]) == [pinned, important, newest, plain]
    assert ids(found["decisions"]) == [decision]
    assert [(fact["key"], fact["value"]) for fact in found["facts"]] == [("tents", 3)]
    assert ids(found["learnings"]) == [learned]
    assert found["learnings"][0]["matched"]
    assert {kind: left["count"] for kind, left in found["left_out"].items()} == dict.fromkeys(found["left_out"], 0)


def test_what_is_no_longer_decided_is_left_out(api: Api) -> None:
    first, second = decide(api, "wait"), decide(api, "buy")
    api.make(f"decisions/{first}/revoke", {"reason": "It was wrong."})
    assert ids(context(api)["decisions"]) == [second]


@pytest.mark.parametrize("budget", [200, 500, 1000, 4000])
def test_the_rows_never_take_more_than_the_budget_and_what_is_left_out_is_counted(api: Api, budget: int) -> None:
    for number in range(30):
        observe(api, f"{number} " + "seen " * 20, pinned=number % 10 == 0, importance=0.8 if number % 7 == 0 else 0.1)
    for number in range(5):
        decide(api, f"decision {number} " + "so " * 20)
    found = context(api, f"?budget={budget}")
    rows = [*found["observations"], *found["decisions"], *found["facts"], *found["learnings"]]
    spent = sum(len(json.dumps(row, separators=(",", ":"))) for row in rows)
    assert spent <= budget * BYTES_PER_TOKEN
    assert found["tokens"] <= budget
    assert rows, "the budget has room for one row at least"
    assert found["left_out"]["observations"]["count"] == 30 - len(found["observations"])
    assert found["left_out"]["decisions"]["count"] == 5 - len(found["decisions"])
    if budget >= 1000:
        assert found["decisions"]
        assert found["observations"][0]["pinned"]


def test_many_decisions_do_not_crowd_out_what_was_seen(api: Api) -> None:
    for number in range(40):
        decide(api, f"decision {number} " + "so " * 60)
    seen = observe(api, "seen", pinned=True)
    assert ids(context(api, "?budget=2000")["observations"]) == [seen]


def test_a_row_that_is_too_long_stops_no_other(api: Api) -> None:
    short = observe(api, "short")
    observe(api, "long " * 2000, pinned=True)
    found = context(api, "?budget=1000")
    assert ids(found["observations"]) == [short]
    assert found["left_out"]["observations"] == {"count": 1, "at_least": False}


def test_it_is_narrowed_like_a_list(api: Api, team: Team) -> None:
    other = make_api(team)
    mine = observe(api, "mine", tags=["a", "b"])
    theirs = observe(other, "theirs", tags=["a"])
    assert ids(context(api, "?tags=a")["observations"]) == [theirs, mine]
    assert ids(context(api, "?tags=a,b")["observations"]) == [mine]
    assert ids(context(api, "?tags=b,c&tags_mode=any")["observations"]) == [mine]
    assert ids(context(api, "?exclude_own=true")["observations"]) == [theirs]
    seq = api.results("observations?task=t")[1]["seq"]
    assert ids(context(api, f"?after_seq={seq}")["observations"]) == [theirs]


def test_hidden_rows_are_neither_in_it_nor_counted(api: Api, team: Team) -> None:
    observe(api, "seen")
    before = context(api)
    cleared = make_api(team, Sensitivity.CONFIDENTIAL)
    for number in range(3):
        observe(cleared, f"secret {number}", sensitivity="confidential", pinned=True)
        observe(cleared, f"a note to myself {number}", private=True)
    assert context(api) == before
    assert len(context(cleared)["observations"]) == 7


@pytest.mark.parametrize("query", ["budget=0", "budget=199", "budget=100001", "budget=x", "tags=", "q=x"])
def test_what_it_does_not_take(api: Api, query: str) -> None:
    assert api.get(f"tasks/t/context?{query}").status == 400


def test_an_absent_task_has_no_context(api: Api) -> None:
    assert api.get("tasks/none/context").refusal == (404, "not_found")
