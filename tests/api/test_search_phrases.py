"""Phrases: first the rows that have them, then, where those are few, rows with their words; and words like The Who."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import pytest

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.factories import make_team
from tests.support.searching import ask, exact, found, hits, remember

SECRET = {"sensitivity": "confidential"}
NOISE = [f"routine check {number} of the service that is in it and to be done" for number in range(12)]
EXACT = "They say nothing is impossible in this book."
LOOSE = "The impossible book says nothing."
BOOK = "A book about boats."


def marked(api: Api, q: str, **more: Any) -> list[tuple[Any, bool]]:
    """The contents that are found, each with whether it is marked as found by a phrase's words alone."""
    return [(hit["row"]["content"], hit.get("relaxed", False)) for hit in hits(api, q, **more)]


def test_a_phrase_that_finds_little_is_filled_by_its_words(api: Api) -> None:
    """Fails when a question with a wrong quotation finds nothing, or when it does not say that it is not exact."""
    remember(api, LOOSE, BOOK, EXACT, *NOISE)
    assert marked(api, 'book "nothing is impossible"') == [(EXACT, False), (LOOSE, True), (BOOK, True)]
    assert marked(api, '"impossible is nothing" book') == [
        (EXACT, True),
        (LOOSE, True),
        (BOOK, True),
    ]  # equals: the newest first
    assert exact(api, '"impossible is nothing"') == []


def test_exact_ones_come_first_however_much_better_others_are(api: Api) -> None:
    """Fails when a row that has the words more often stands before the one that has the phrase."""
    long = "the lamp is red, " + "and much else is written in this row about other things " * 8
    remember(api, "red lamp red lamp lamp red", long, "red red red", "lamp lamp lamp")
    told = marked(api, '"lamp is red"')
    assert told[0] == (long, False)
    assert all(relaxed for _, relaxed in told[1:])
    assert len(told) == 4


def test_where_the_phrase_is_found_often_enough_nothing_is_filled_up(api: Api) -> None:
    """Fails when rows without the phrase stand in an answer that the rows with it fill."""
    remember(api, *[f"the red lamp {number}" for number in range(5)], *["a lamp, red"] * 5)
    told = marked(api, '"red lamp"', limit=5)
    assert len(told) == 5
    assert not any(relaxed for _, relaxed in told)
    told = marked(api, '"red lamp"', limit=7)
    assert [relaxed for _, relaxed in told] == [False] * 5 + [True] * 2


def test_a_phrase_that_is_excluded_stays_strict(api: Api) -> None:
    """Fails when -"…" lets the phrase through, or shuts out rows that have its words otherwise."""
    remember(api, "red lamp", "lamp red", "a red and a lamp")
    assert set(found(api, 'lamp -"red lamp"')) == {"lamp red", "a red and a lamp"}
    assert set(found(api, '"lamp red" -"red lamp"')) == {"lamp red", "a red and a lamp"}
    assert found(api, '-"red lamp"') == []


def test_filters_hold_for_what_is_filled_up(api: Api, task: str) -> None:
    """Fails when rows that a filter excludes come back through a phrase's words."""
    remember(api, "red lamp", "lamp red", tags=["a"])
    remember(api, "lamp red again", task=task)
    assert marked(api, '"red lamp"', task=task) == [("lamp red again", True)]
    assert marked(api, '"red lamp"', tags="a") == [("red lamp", False), ("lamp red", True)]
    assert marked(api, '"red lamp" -again') == [("red lamp", False), ("lamp red", True)]


def test_phrases_are_found_across_sealed_rows(team: Team, api: Api) -> None:
    """Fails when a confidential row, which has no positions, is taken for exact without being read; or is lost."""
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    remember(high, "the secret lamp is red", "red is the secret lamp", **SECRET)
    remember(high, "an open lamp is red", "red is an open lamp")
    told = marked(high, '"lamp is red"')
    assert {content for content, relaxed in told if not relaxed} == {"the secret lamp is red", "an open lamp is red"}
    assert {content for content, relaxed in told if relaxed} == {"red is the secret lamp", "red is an open lamp"}
    assert [relaxed for _, relaxed in told] == [False, False, True, True]
    assert {content for content, _ in marked(api, '"lamp is red"')} == {"an open lamp is red", "red is an open lamp"}
    assert "the secret lamp is red" not in found(high, 'lamp -"lamp is red"')
    assert "red is the secret lamp" in found(high, 'lamp -"lamp is red"')


NAMES = {
    "AT&T": "A call of AT&T about the line.",
    "R&D": "The R&D group moves out.",
    "The Who": "We listened to The Who all night.",
    "the who": "We listened to The Who all night.",
    '"the who"': "We listened to The Who all night.",
    "IT": "Ask IT.",
    "it": "Ask IT.",
    "to be or not to be": "He said: to be, or not to be.",
    '"to be or not to be"': "He said: to be, or not to be.",
    "To be, or not to be?": "He said: to be, or not to be.",
}
OTHERS = ["They met at the T junction", "Section R, part D", "A group of the line", "Who are the others?", "be or not"]


@pytest.fixture(scope="module")
def memory() -> Api:
    api = make_api(make_team())
    remember(api, *dict.fromkeys(NAMES.values()), *OTHERS)
    return api


@pytest.mark.parametrize("mode", ["hybrid", "text"])
@pytest.mark.parametrize("query", NAMES)
def test_names_of_common_words_find_their_rows_first(memory: Api, query: str, mode: str) -> None:
    """Fails when a name that consists of stop words or signs cannot be found."""
    assert found(memory, query, mode=mode)[:1] == [NAMES[query]]


def test_stop_words_are_ignored_beside_other_words(api: Api) -> None:
    """Fails when a question's small words count, so that a row full of them comes before what is meant."""
    remember(api, "the lamp", "lamp", "what is it that the others are to do with this", "who is the one")
    assert set(found(api, "what is the lamp that is with this")) == {"the lamp", "lamp"}
    (first, second) = hits(api, "who is the lamp", limit=2)
    assert first["score"] == second["score"]
    assert first["matched"]["words"] == second["matched"]["words"] == ["lamp"]
    assert [first["snippet"][start:end] for start, end in first["highlights"]] == ["lamp"]


def test_stop_words_do_not_count_in_a_rows_length(api: Api) -> None:
    """Fails when a row of ordinary prose ranks lower for its small words."""
    remember(api, "lamp", "it is the lamp that was with all of them", "something else entirely")
    (first, second) = hits(api, "lamp")
    assert first["score"] == second["score"]


def more_of(api: Api, q: str, limit: int) -> tuple[int, bool]:
    """How many hits a query has at this limit, and whether it says that there are more."""
    reply = api.get(f"search?{urlencode({'q': q, 'limit': limit})}")
    assert reply.status == 200
    return len(reply.data["results"]), reply.data["more"]


def check_more(api: Api, q: str, total: int, limits: Iterable[int]) -> None:
    """At every limit there are as many hits as can be, and `more` is true exactly where some are left out."""
    for limit in limits:
        assert more_of(api, q, limit) == (min(limit, total), limit < total), (q, limit)


def test_more_is_true_exactly_where_hits_are_left_out(api: Api) -> None:
    """Fails when a reader who got everything is told to narrow the query, or one who did not believes it was all."""
    remember(api, *["lamp"] * 21)
    ask(api, "lamp")
    check_more(api, "lamp", 21, (1, 2, 19, 20, 21, 22, 40, 41, 100))
    check_more(api, "lam", 21, (1, 20, 21, 22, 100))
    check_more(api, "nothing", 0, (1, 20, 100))


def test_more_at_the_highest_limit(api: Api) -> None:
    """Fails when the hundredth hit is the last one, or is not, and the answer says otherwise."""
    remember(api, *["lamp"] * 50)
    remember(api, *["lamp"] * 50)
    ask(api, "lamp")
    check_more(api, "lamp", 100, (1, 80, 81, 99, 100))
    remember(api, "lamp")
    ask(api, "lamp")
    check_more(api, "lamp", 101, (80, 99, 100))


def test_more_with_phrases_counts_what_is_filled_up(api: Api) -> None:
    """Fails when rows with only a phrase's words are left out without a word."""
    remember(api, *["red lamp"] * 6, *["lamp red"] * 7)
    ask(api, "lamp")
    check_more(api, '"red lamp"', 13, (1, 5, 6, 7, 12, 13, 14, 40, 100))


def test_more_where_the_stem_is_there_and_the_word_is_not(api: Api) -> None:
    """Fails when rows that have the phrase but for a word's ending are counted as exact, or are lost."""
    remember(api, *["red lamps"] * 30, *["red lamp"] * 3)
    ask(api, "lamp")
    check_more(api, '"red lamp"', 33, (1, 2, 3, 4, 20, 32, 33, 34, 100))
    told = marked(api, '"red lamp"', limit=10)
    assert [relaxed for _, relaxed in told] == [False] * 3 + [True] * 7


@pytest.mark.parametrize(
    ("one", "other"), [("went gone", "go"), ("children", "child"), ("mice", "mouse"), ("ran", "run")]
)
def test_irregular_forms_find_each_other_and_are_marked(api: Api, one: str, other: str) -> None:
    """Fails when a question in another tense or number does not find the row, or does not show why it did."""
    forms = [*one.split(), other]
    remember(api, *[f"yesterday {form} there" for form in forms], *NOISE)
    for query in forms:
        told = hits(api, query)
        assert sorted(hit["row"]["content"] for hit in told) == sorted(f"yesterday {form} there" for form in forms)
        for hit in told:
            ((start, end),) = hit["highlights"]
            assert hit["snippet"][start:end] == hit["row"]["content"].split()[1]
