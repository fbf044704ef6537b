"""Search finds what people really type: questions, names, identifiers, half words, phrases, text without spaces."""

from typing import Any

import pytest

from tests.support.api import Api, make_api
from tests.support.factories import make_team
from tests.support.searching import ask, exact, found, hits, remember

ORDER = {"order_id": "#W2378156", "status": "delivered", "items": ["mechanical keyboard", "desk lamp"]}
DELAY = "The flight HAT-1234 to Seattle was delayed by a storm; the customer asks for compensation."
REFUND = "A refund was issued to Mia Li after the cancellation of her reservation."
CHINESE = "客户要求退款，因为航班取消了。"
JAPANESE = "お客様は航空券の変更を希望しています。"
NOISE = [f"Routine check number {number}: nothing to report about the service." for number in range(30)]


@pytest.fixture(scope="module")
def memory() -> Api:
    api = make_api(make_team())
    remember(api, ORDER, DELAY, REFUND, CHINESE, JAPANESE, *NOISE)
    return api


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("What did we do about the customer whose flight was late because of a storm?", DELAY),
        ("who got refunds?", REFUND),
        ("Mia Li", REFUND),
        ("mia", REFUND),
        ("HAT-1234", DELAY),
        ("hat-1234", DELAY),
        ("1234", DELAY),
        ("#W2378156", ORDER),
        ("w2378156", ORDER),
        ("order_id", ORDER),
        ("keyboards", ORDER),
        ("cancella", REFUND),  # half a word
        ("keyb", ORDER),
        ("2378156", ORDER),  # from the middle of one
        ("退款", CHINESE),
        ("航班取消", CHINESE),
        ("航空券の変更", JAPANESE),
        ("券", JAPANESE),
        ('"to Seattle"', DELAY),
        ('"cancellation of her reservation"', REFUND),
        ("“storm”", DELAY),
        ("COMPENSATION", DELAY),
    ],
)
def test_what_is_typed_finds_its_row_first(memory: Api, query: str, first: Any) -> None:
    assert found(memory, query)[:1] == [first]


@pytest.mark.parametrize(
    ("query", "none_of"),
    [
        ("customer -storm", DELAY),
        ("customer -HAT-1234", DELAY),
        ('flight -"delayed by a storm"', DELAY),
        ('"Seattle to"', DELAY),  # the words, but not so
        ('"refund Mia"', REFUND),
        ("refund -cancellations", REFUND),
    ],
)
def test_what_is_left_out_is_not_found(memory: Api, query: str, none_of: Any) -> None:
    assert none_of not in exact(memory, query)


@pytest.mark.parametrize("query", ["%", "_", "'", "''", "a & | b", "!!! ()", ":*", "-", '"', '""', "-x", "\\"])
def test_signs_without_meaning_find_nothing_and_break_nothing(memory: Api, query: str) -> None:
    assert found(memory, query) == []


@pytest.mark.parametrize(
    "query", [" OR ".join("abcdefghijklmnopqrstuvwxyz"), "& ".join(["x"] * 300), "'; drop table task; --"]
)
def test_a_query_of_many_or_odd_words_is_answered(memory: Api, query: str) -> None:
    assert ask(memory, query).status == 200
    assert ask(memory, query, mode="substring").status == 200


def test_a_query_that_is_too_long_or_missing_is_refused(api: Api) -> None:
    assert ask(api, "x" * 1001).refusal == (400, "invalid")
    assert ask(api, " ".join(["x"] * 5000)).refusal == (414, "uri_too_long")
    assert api.get("search").refusal == (400, "invalid")
    assert api.get("search?q=%00").refusal == (400, "invalid")
    assert api.get("search?q=%ff").refusal == (400, "invalid")
    assert api.get("search?q=x&mode=other").refusal == (400, "invalid")
    assert api.get("search?q=x&limit=101").refusal == (400, "invalid")


def test_searching_by_meaning_says_what_it_lacks(api: Api) -> None:
    reply = ask(api, "refund", mode="semantic")
    assert reply.refusal == (409, "not_configured")
    assert "embeddings" in reply.data["detail"]


def test_the_mode_decides_whether_parts_of_words_count(memory: Api) -> None:
    assert found(memory, "cancella", mode="text") == []
    assert found(memory, "cancella", mode="hybrid") == [REFUND]
    assert found(memory, "ancell", mode="substring") == [REFUND]
    assert found(memory, "storm", mode="text") == [DELAY]


def test_more_of_the_words_and_rarer_ones_come_first(api: Api) -> None:
    both, rare, common = "service outage", "outage elsewhere", "service elsewhere"
    remember(api, common, rare, both, *NOISE)
    assert found(api, "service outage")[:2] == [both, rare]


def test_a_word_more_often_and_in_a_shorter_text_counts_more(api: Api) -> None:
    texts = ["lamp lamp lamp and more", "lamp and more words here", "a lamp " + "with many other words around it " * 10]
    remember(api, *reversed(texts))
    assert found(api, "lamp") == texts


def test_of_equals_the_newest_comes_first(api: Api) -> None:
    ids = remember(api, "equal words", "equal words", "equal words")
    assert [hit["id"] for hit in hits(api, "equal")] == ids[::-1]


def test_an_identifier_is_found_whole_before_its_parts(api: Api) -> None:
    whole, part = "ticket AB-77 is open", "77 tickets and AB negative"
    remember(api, whole, part, part)
    assert found(api, "AB-77") == [whole]
    assert set(found(api, "AB-99-77")) == {whole, part}  # nowhere whole


def test_a_hit_says_why_and_marks_what_matched(memory: Api) -> None:
    hit, *others = hits(memory, 'refunds zebra cancella "Mia Li"')
    assert all(other["relaxed"] for other in others)
    assert hit["type"] == "observation"
    assert hit["id"] == hit["row"]["id"]
    assert hit["score"] > 0
    assert hit["matched"] == {"words": ["refunds"], "phrases": ["Mia Li"], "parts": ["cancella"]}
    marked = [hit["snippet"][start:end] for start, end in hit["highlights"]]
    assert marked == ["refund", "Mia", "Li", "cancellation"]


def test_the_snippet_is_where_the_words_are(api: Api) -> None:
    remember(api, "x " * 5000 + "before the <b>needle</b> there is hay " + "y " * 5000)
    (hit,) = hits(api, "needle")
    assert len(hit["snippet"]) < 260
    assert [hit["snippet"][start:end] for start, end in hit["highlights"]] == ["needle"]
    assert "<b>" in hit["snippet"]  # the agent's words as they are: whoever shows them escapes them


def test_decisions_are_found_by_their_reasoning(api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("decisions", {"task": "t", "decision": {"do": "refund"}, "reasoning": "The warranty covers it."})
    (hit,) = hits(api, "warranty")
    assert (hit["type"], hit["row"]["decision"], hit["row"]["task"]) == ("decision", {"do": "refund"}, "t")
