"""Filters come before ranking: what they leave is what is ranked, however many better rows there are without them."""

from typing import Any
from urllib.parse import urlencode

import pytest

from memoryhub.core.models import Team
from memoryhub.memory.search import fetch_plan, indexer, lookup, scoring
from tests.support.api import Api, make_api
from tests.support.searching import ask, found, hits, remember


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are looked at, so that a filter that came too late would find nothing left."""
    monkeypatch.setattr(indexer, "CELL", 8)
    monkeypatch.setattr(lookup, "AT_ONCE", 20)  # longer ones are read in a trip of their own
    monkeypatch.setattr(fetch_plan, "BUDGET", 24)
    monkeypatch.setattr(scoring, "LOOKED_AT", 5)


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


def test_a_word_that_is_too_common_to_be_read_counts_all_the_same(
    team: Team, small_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its postings are read, or it is looked for in the documents that a rarer word found: a matter of time only."""
    api = make_api(team)
    remember(api, *[f"pump {'valve ' * (number % 5)}{number} {'gauge' * (number % 9 == 0)}" for number in range(60)])
    asked = [{"limit": 7}, {"limit": 7, "types": "observation"}]
    late = [hits(api, "pump valve gauge", **filters) for filters in asked]
    monkeypatch.setattr(fetch_plan, "BUDGET", 1_000)
    assert [hits(api, "pump valve gauge", **filters) for filters in asked] == late
    assert all("gauge" in hit["matched"]["words"] for hit in late[0])


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("café", "cafe\u0301"),
        ("cafe\u0301", "café"),
        ("re\u00adfund", "refund"),
        ("refund", "re\u200bfund"),
        ("a\u2011b", "a-b"),
    ],
    ids=["composed", "decomposed", "soft hyphen", "zero-width", "hyphen"],
)
def test_a_tag_and_a_title_are_found_however_they_are_spelt(api: Api, stored: str, asked: str) -> None:
    """Search, lists and contexts filter by what readers see: two tags that look the same are one."""
    api.make("tasks", {"key": "t", "title": f"About {stored}"})
    remember(api, "gauge", task="t", tags=[stored])
    assert found(api, "gauge", tags=asked) == ["gauge"]
    assert [row["content"] for row in api.results(f"observations?{urlencode({'tags': asked})}")] == ["gauge"]
    assert len(api.get(f"tasks/t/context?{urlencode({'tags': asked})}").data["observations"]) == 1
    assert [task["key"] for task in api.results(f"tasks?{urlencode({'q': asked})}")] == ["t"]
