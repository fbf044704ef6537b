"""Filters come before ranking: what they leave is what is ranked, however many better rows there are without them."""

from collections.abc import Iterator
from typing import Any

import pytest

from memoryhub.core.models import Team
from memoryhub.memory.search import fetch_plan, indexer
from tests.support.api import Api, make_api
from tests.support.searching import ask, found, hits, remember


@pytest.fixture
def small_index() -> Iterator[None]:
    """Few rows are looked at, so that a filter that came too late would find nothing left."""
    kept = indexer.CELL, fetch_plan.BUDGET, fetch_plan.NEWEST
    indexer.CELL, fetch_plan.BUDGET, fetch_plan.NEWEST = 8, 10, 5
    yield
    indexer.CELL, fetch_plan.BUDGET, fetch_plan.NEWEST = kept


@pytest.fixture
def memory(team: Team, small_index: None) -> Api:
    """Rows with every property early on, and then many that have the word more often."""
    early, api = make_api(team, name="early"), make_api(team, name="late")
    early.make("tasks", {"key": "t", "title": "T"})
    remember(early, "old valve", task="t", tags=["a", "b"], importance=0.9)
    early.make("decisions", {"task": "t", "decision": "replace the valve", "reasoning": "r"})
    for _ in range(10):
        remember(api, *["valve valve valve"] * 10, tags=["b"], importance=0.2)
        indexer.catch_up(team.id)
    return api


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"task": "t"}, {"old valve", "replace the valve"}),
        ({"task": "t", "types": "decision"}, {"replace the valve"}),
        ({"types": "decision"}, {"replace the valve"}),
        ({"agent": "early"}, {"old valve", "replace the valve"}),
        ({"exclude_own": "true"}, {"old valve", "replace the valve"}),
        ({"tags": "a"}, {"old valve"}),
        ({"tags": "a,b"}, {"old valve"}),
        ({"tags": "a,c", "tags_mode": "any"}, {"old valve"}),
        ({"tags": "a,c"}, set()),
        ({"min_importance": "0.85"}, {"old valve"}),
        ({"min_importance": "0.95"}, set()),
        ({"agent": "nobody"}, set()),
        ({"until": "2020-01-01T00:00:00Z"}, set()),
    ],
)
def test_a_filter_finds_old_rows_among_many_better_ones(memory: Api, filters: Any, expected: Any) -> None:
    assert set(found(memory, "valve", **filters)) == expected


def test_times_are_of_making(memory: Api) -> None:
    oldest = hits(memory, "valve", task="t", types="observation")[0]["row"]["created_at"]
    decided = hits(memory, "valve", types="decision")[0]["row"]["created_at"]
    assert found(memory, "valve", until=decided) == ["old valve"]
    assert found(memory, "valve", since=oldest, until=decided) == ["old valve"]


def test_a_hidden_or_absent_task_is_the_same(memory: Api) -> None:
    assert ask(memory, "valve", task="none").refusal == (404, "not_found")


def test_a_tag_may_have_any_sign(team: Team, api: Api) -> None:
    tag = "it's \\ 'x' & !|:*"
    remember(api, "gauge", tags=[tag])
    remember(api, "gauge too")
    assert found(api, "gauge", tags=tag) == ["gauge"]


@pytest.mark.usefixtures("small_index")
def test_an_old_row_with_two_common_words_is_found_among_many_with_one(team: Team, api: Api) -> None:
    remember(api, "valve gauge")
    for _ in range(6):
        remember(api, *["valve is new"] * 5, *["gauge is new"] * 5)
        indexer.catch_up(team.id)
    assert found(api, "valve gauge")[0] == "valve gauge"


def test_the_newest_rows_of_a_very_common_word_are_the_same_by_either_way(
    team: Team, small_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read from the newest on, or by the index of words: which is only a matter of time."""
    api = make_api(team)
    for importance in (0.3, 0.9):
        remember(api, *[f"pump {'pump ' * (number % 5)}{number}" for number in range(30)], importance=importance)
    walked: list[bool] = []

    def read(*, may_walk: bool) -> list[Any]:
        def is_dense(rows: float, docs: int) -> bool:
            walked.append(may_walk and fetch_plan.NEWEST * docs < rows * rows)
            return walked[-1]

        monkeypatch.setattr(fetch_plan, "_is_dense", is_dense)
        return [hits(api, "pump", **filters) for filters in ({}, {"types": "observation"}, {"min_importance": 0.5})]

    by_index = read(may_walk=False)
    assert not any(walked)
    assert all(by_index)
    assert read(may_walk=True) == by_index
    assert any(walked)
