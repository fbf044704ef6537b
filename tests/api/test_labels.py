"""Labels: how many a member may make, through every door, and what those cost others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings

from memoryhub.core.access.labels import ensure_label
from memoryhub.core.models import Label, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api, at_once, make_api
from tests.support.factories import make_team, unique
from tests.support.facts import put

WORDS = [f"w{number}" for number in range(20)]
REFUSED = (409, "too_many_labels")


def pairs() -> Iterator[list[str]]:
    """Compartments of a label that nobody has made."""
    return (list(pair) for pair in combinations(WORDS, 2))


@pytest.fixture
def member(team: Team, settings: LazySettings) -> Api:
    """Holds 20 compartments, and may make 3 labels."""
    settings.LABELS_PER_MEMBER = 3
    return make_api(team, Sensitivity.CONFIDENTIAL, WORDS)


def fill(member: Api) -> None:
    """Make all the labels that the member may."""
    for compartments in (["w0", "w1"], ["w1", "w2"], ["w2", "w3"]):
        member.make("observations", {"content": "x", "compartments": compartments})


DOORS: dict[str, Callable[[Api, dict[str, Any]], Any]] = {
    "tasks": lambda api, label: api.post("tasks", {"key": unique("k"), "title": "T", **label}),
    "observations": lambda api, label: api.post("observations", {"content": "x", **label}),
    "decisions": lambda api, label: api.post("decisions", {"task": "t", "decision": "x", "reasoning": "y", **label}),
    "learnings": lambda api, label: api.post("learnings", {"signal_type": "success", "details": "x", **label}),
    "alerts": lambda api, label: api.post("alerts", {"to": "all", "insight": "x", **label}),
    "facts": lambda api, label: put(api, unique("k"), 1, **label),
}


@pytest.mark.parametrize("door", DOORS)
def test_past_the_number_every_door_refuses_a_new_label_and_takes_those_that_exist(
    door: str, member: Api, team: Team
) -> None:
    make_api(team, Sensitivity.CONFIDENTIAL, WORDS)  # somebody to alert
    member.make("tasks", {"key": "t", "title": "T", "compartments": ["w0"]})
    fill(member)
    refused = DOORS[door](member, {"compartments": ["w3", "w4"], "sensitivity": "confidential"})
    assert refused.refusal == REFUSED
    assert "3" in refused.data["detail"]
    assert DOORS[door](member, {"compartments": ["w0", "w1"]}).status == 201


def test_in_a_batch_only_the_items_with_a_label_too_many_are_refused(member: Api) -> None:
    items = [{"content": "x", "compartments": pair} for pair, _ in zip(pairs(), range(5), strict=False)]
    reply = member.post("observations/batch", {"items": [*items, {"content": "x", "compartments": ["w0", "w1"]}]})
    assert reply.status == 207
    results = reply.data["results"]
    assert [result["status"] for result in results] == ["created"] * 3 + ["error"] * 2 + ["created"]
    assert {(result["error"]["status"], result["error"]["code"]) for result in results[3:5]} == {REFUSED}


def test_labels_of_others_do_not_count_and_may_be_used(team: Team, member: Api) -> None:
    other = make_api(team, Sensitivity.CONFIDENTIAL, ["w6", "w7", "w8", "w9", "hidden"])
    other.make("observations", {"content": "x", "compartments": ["w9", "hidden"]})
    other.make("observations", {"content": "x", "compartments": ["w8", "w9"]})
    with viewer_transaction(system_viewer(team.id)):
        ensure_label(system_viewer(team.id), Sensitivity.CONFIDENTIAL, ["w6", "w8"])
    fill(member)
    for words, level in ((["w8", "w9"], "internal"), (["w6", "w8"], "confidential")):
        assert member.post("observations", {"content": "x", "compartments": words, "sensitivity": level}).status == 201
    assert DOORS["tasks"](member, {"compartments": ["w6", "w7"]}).refusal == REFUSED
    # Below the other's number, too, by the one that it has still to make.
    assert DOORS["tasks"](other, {"compartments": ["w6", "w7"]}).status == 201
    assert DOORS["tasks"](other, {"compartments": ["w7", "w9"]}).refusal == REFUSED


def test_of_requests_at_once_no_more_make_a_label_than_may(team: Team, member: Api) -> None:
    bodies = [{"content": "x", "compartments": pair} for pair, _ in zip(pairs(), range(8), strict=False)]
    asked = [partial(member.post, "observations", body) for body in bodies]
    assert sorted(reply.status for reply in at_once(*asked)) == [201] * 3 + [409] * 5
    assert Label.objects.filter(maker_id=member.agent.membership.id).count() == 3  # type: ignore[union-attr]


def test_an_import_is_refused_by_its_tasks_label_only_when_it_is_new(member: Api, team: Team) -> None:
    fill(member)
    importer = make_api(team, Sensitivity.CONFIDENTIAL, WORDS, scopes=["import"])
    run = {"messages": [{"role": "user", "content": "Hello"}], "task_id": "i"}
    assert importer.post("import/trajectories", {"runs": [run]}).status == 200


def test_a_label_that_was_rolled_back_is_in_no_list(team: Team, api: Api) -> None:
    """The kept list of a clearance: what one transaction made and took back must not stand for another's label."""
    agent = api.agent
    assert agent is not None

    def listed() -> frozenset[int]:
        with viewer_transaction(agent.viewer, read_only=True) as mine:
            return mine.labels

    def make_and_fail() -> None:
        with viewer_transaction(agent.viewer) as mine:
            undone.append(ensure_label(agent.viewer, Sensitivity.PUBLIC).id)
            assert undone[0] in mine.labels
            raise ZeroDivisionError

    before, undone = listed(), []
    with pytest.raises(ZeroDivisionError):
        make_and_fail()
    assert listed() == before
    api.make("observations", {"content": "x", "sensitivity": "public"})
    (made,) = listed() - before
    assert [made] != undone


def test_a_label_that_another_process_made_is_seen_by_the_next_request(
    team: Team, api: Api, owner_sql: psycopg.Connection[Any]
) -> None:
    api.make("observations", {"content": "x"})
    assert len(api.results("observations")) == 1
    # As another process would: this one's kept list is of before.
    owner_sql.execute("insert into label (team_id, sensitivity, compartments) values (%s, 0, '{}')", [team.id])
    with viewer_transaction(system_viewer(team.id)):
        ensure_label(system_viewer(team.id), Sensitivity.PUBLIC)
    other = make_api(team)
    other.make("observations", {"content": "y", "sensitivity": "public"})
    assert [row["content"] for row in api.results("observations")] == ["y", "x"]


def test_thousands_of_hidden_labels_cost_a_request_nothing(team: Team, owner_sql: psycopg.Connection[Any]) -> None:
    """Beside the same requests of a team without; the control, who may see them all, shows that they are there."""
    bare = make_api(make_team())
    low, high = make_api(team), make_api(team, Sensitivity.CONFIDENTIAL, WORDS)
    for api in (bare, low):
        api.make("tasks", {"key": "t", "title": "T"})
        for number in range(30):
            api.make("observations", {"task": "t", "content": f"x {number}"})
    triples = [(team.id, list(words)) for size in (3, 4, 5) for words in combinations(WORDS, size)][:6000]
    owner_sql.execute("analyze label")  # as autovacuum may do before they are made, and not again before they are used
    with owner_sql.cursor() as cursor:
        cursor.executemany("insert into label (team_id, sensitivity, compartments) values (%s, 2, %s)", triples)

    def seconds(api: Api) -> float:
        began = time.perf_counter()
        assert len(api.results("observations?task=t&limit=30")) == 30
        api.make("observations", {"content": "x"})
        return time.perf_counter() - began

    for api in (bare, low, high):
        seconds(api)  # lists, plans
    found = {api: [] for api in (bare, low, high)}
    for _ in range(15):
        for api in (bare, low, high):  # in turn, so that a slow moment of the machine meets all
            found[api].append(seconds(api))
    without, hidden, visible = (min(found[api]) for api in (bare, low, high))  # noise only adds
    assert hidden < 1.5 * without, (hidden, without)
    assert visible > 1.5 * without, (visible, without)
    with viewer_transaction(low.agent.viewer, read_only=True) as mine:  # type: ignore[union-attr]
        assert len(mine.labels) == 1


def test_a_compartment_with_a_word_of_sql_is_one_like_any_other(team: Team) -> None:
    """The viewer's compartments go to PostgreSQL as the text of an array, in which a bare null would be none."""
    inside = make_api(team, Sensitivity.CONFIDENTIAL, ["null", "a-b_c"])
    outside = make_api(team, Sensitivity.CONFIDENTIAL, ["nul", "a-b"])
    for words in (["null"], ["a-b_c"], ["a-b_c", "null"]):
        made = inside.make("observations", {"content": "x", "sensitivity": "confidential", "compartments": words})
        assert inside.get(f"observations/{made['id']}").status == 200
        assert outside.get(f"observations/{made['id']}").refusal == (404, "not_found")
    assert len(inside.results("observations")) == 3
    assert not list(outside.results("observations"))
