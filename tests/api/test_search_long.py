"""Long rows: every word of them is found, to the last, and a row of several documents is one row."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import indexer
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.rebuild import rebuild
from memoryhub.memory.search.terms import OVERLAP, PART
from tests.support.api import Api, make_api
from tests.support.searching import exact, found, hits, indexed, remember

SIZE = 250_000  # bytes; a row has at most 256 kB
WORDS = ["the", "agent", "asked", "whether", "customer", "of", "our", "airline", "accepts", "another", "flight"]


def filled(end: str, piece: Callable[[random.Random], str], gap: str = "") -> str:
    """A text of SIZE bytes that ends with `end`."""
    rng = random.Random(7)
    made: list[str] = []
    size = len(end.encode()) + len(gap)
    while True:
        one = piece(rng) + gap
        size += len(one.encode())
        if size > SIZE:
            return "".join(made) + end
        made.append(one)


def letters(first: int, last: int) -> Callable[[random.Random], str]:
    """Random letters of a script."""
    return lambda rng: "".join(chr(rng.randrange(first, last)) for _ in range(20))


def prose(rng: random.Random) -> str:
    return rng.choice(WORDS) + str(rng.randrange(400))


def tibetan(rng: random.Random) -> str:
    """A syllable, with its vowel and the mark after it."""
    first, vowel, last = (chr(rng.randrange(*span)) for span in ((0xF40, 0xF47), (0xF72, 0xF75), (0xF49, 0xF51)))
    return f"{first}{vowel}{last}་"


def encoded(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(57)).decode()


def document(most: int = SIZE) -> dict[str, Any]:
    """An object of lists within lists, whose last value is the word."""
    rng = random.Random(7)
    made: dict[str, Any] = {"orders": [], "the last": {"last": [["cormorant"]]}}
    size = 200
    while size < most:
        one = {"id": rng.randrange(10**9), "items": [[prose(rng), [prose(rng)]], [{"sku": prose(rng)}]]}
        size += len(json.dumps(one)) + 2
        made["orders"].append(one)
    return made


TEXTS: dict[str, tuple[Callable[[], Any], str]] = {
    "prose": (lambda: filled("cormorant", prose, " "), "cormorant"),
    "JSON in one line": (lambda: json.dumps(document(200_000)), "cormorant"),
    "an object": (document, "cormorant"),
    "Chinese": (lambda: filled("鸬鹚", letters(0x4E00, 0x4E40)), "鸬鹚"),
    "Japanese": (lambda: filled("鵜呑み", letters(0x3041, 0x3090)), "鵜呑み"),
    "Thai": (lambda: filled("ฮฬฮ", letters(0x0E01, 0x0E20)), "ฮฬฮ"),
    "Korean": (lambda: filled("힣힢", letters(0xAC00, 0xAC40)), "힣힢"),
    "Tibetan": (lambda: filled("ཨོཾ་ཧེ", tibetan), "ཨོཾ་ཧེ"),
    "Javanese": (lambda: filled("ꦲꦱꦲ", letters(0xA98F, 0xA9A0)), "ꦲꦱꦲ"),
    "base64": (lambda: filled("cormorant", encoded, "\n"), "cormorant"),
    "an identifier": (
        lambda: filled("cormorant", lambda rng: f"{rng.choice('abcdefgh')}{rng.randrange(60)}."),
        "cormorant",
    ),
    "one word": (lambda: filled("cormorant", lambda rng: "again "), "cormorant"),
    "words of accents": (lambda: filled("cormorant", lambda rng: f"é{rng.randrange(900)} "), "cormorant"),
    "emoji": (lambda: filled(" cormorant", lambda rng: "👩\u200d🔧"), "cormorant"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_the_last_word_of_a_long_row_is_found(api: Api, kind: str) -> None:
    """Fails when the end of a long row is beyond what the index takes."""
    make, word = TEXTS[kind]
    text = make()
    (row,) = remember(api, text)
    remember(api, "a short one")
    for query in (word, f'"{word}"'):
        told = hits(api, query)
        assert [hit["id"] for hit in told] == [row], query
        assert "relaxed" not in told[0]
        start, end = told[0]["highlights"][-1]
        assert told[0]["snippet"][start:].rstrip('"]}') == told[0]["snippet"][start:end], query
    assert found(api, f"short -{word}") == ["a short one"]


def numbered(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


@pytest.mark.parametrize("length", [2, 12, OVERLAP])
def test_a_phrase_across_a_boundary_of_parts_is_found(team: Team, api: Api, owner_sql: Any, length: int) -> None:
    """Fails when a long row is cut so that a phrase is whole in none of its documents."""
    remember(api, numbered(3 * PART))
    catch_up(team.id)
    assert indexed(owner_sql, team) == 4
    for boundary in (PART, 2 * PART - OVERLAP, 3 * PART - 2 * OVERLAP):
        for start in range(boundary - length - 1, boundary + 2, max(length // 3, 1)):
            phrase = " ".join(f"w{number}" for number in range(start, start + length))
            assert len(exact(api, f'"{phrase}"')) == 1, (start, phrase)
    assert exact(api, f'"w{PART} w{PART - 1}"') == []
    assert found(api, f'w1 -"w{PART - 1} w{PART}"') == []


def test_a_long_row_is_one_hit_that_counts_as_its_best_part(team: Team, api: Api) -> None:
    """Fails when a long row stands in an answer once for each of its documents, or takes others' places."""
    (row,) = remember(api, " ".join(["lamp"] * 5 * PART))
    remember(api, "a lamp", "another lamp")
    told = hits(api, "lamp")
    assert len(told) == 3
    assert [hit["id"] for hit in told].count(row) == 1
    reply = api.get("search?q=lamp&limit=3")
    assert (len(reply.data["results"]), reply.data["more"]) == (3, False)
    reply = api.get("search?q=lamp&limit=2")
    assert (len(reply.data["results"]), reply.data["more"]) == (2, True)


def test_a_long_row_lends_to_its_neighbour_from_each_of_its_parts(api: Api, task: str) -> None:
    """Fails when only the beginning of a long row counts for the row after it."""
    remember(api, numbered(2 * PART) + " pump", task=task)
    remember(api, "blue hose", task=task)
    api.make("tasks", {"key": "apart", "title": "T"})
    remember(api, "grey hose", task="apart")
    told = {hit["row"]["content"]: hit["score"] for hit in hits(api, "pump hose")}
    assert told["blue hose"] > told["grey hose"]


def test_filters_and_exclusions_hold_for_every_part(api: Api, task: str) -> None:
    """Fails when the further parts of a long row have no task, type or tag, or are not shut out with it."""
    text = f"beginning {numbered(2 * PART)} ending"
    remember(api, text, task=task, tags=["a"], importance=0.7)
    remember(api, "another ending")
    for more in ({"task": task}, {"tags": "a"}, {"types": "observation", "min_importance": 0.5}, {"agent": api.name}):
        assert text in found(api, "ending", **more), more
        assert text in found(api, "beginning", **more), more
    assert found(api, "ending", exclude_own="true") == []
    for query in (
        "ending -beginning",
        "beginning -ending",
        "w9 -ending",
        '-"beginning w0 w1" ending',
        f"w1 -w{PART + 9}",
    ):
        assert text not in found(api, query), query
    assert text in found(api, 'ending -"ending beginning" -elsewhere'), "the control"


def test_phrases_in_different_parts_are_those_of_one_row(api: Api) -> None:
    """Fails when a long row with both phrases is not found, or is marked as if it lacked one."""
    text = f"the red beginning {numbered(2 * PART)} a blue ending"
    remember(api, text, "the red ending a blue beginning")
    assert exact(api, '"red beginning" "blue ending"') == [text]


def test_words_in_different_parts_count_together(api: Api) -> None:
    """Fails when a long row that has all the words ranks no higher than one that has one of them."""
    text = f"beginning {numbered(2 * PART)} ending"
    remember(api, text, f"beginning {numbered(2 * PART)}")
    first, second = hits(api, "beginning ending")
    assert first["row"]["content"] == text
    assert first["score"] > 1.3 * second["score"]
    assert sorted(first["matched"]["words"]) == ["beginning", "ending"]


def test_a_long_row_is_removed_without_a_trace(team: Team, api: Api, owner_sql: psycopg.Connection[Any]) -> None:
    """Fails when parts of an erased row stay in the index, which people trust to have forgotten it."""
    remember(api, "a lamp")
    catch_up(team.id)
    before = _tables(owner_sql, team)
    (row,) = remember(api, f"lamp {numbered(2 * PART)} cormorant", tags=["a"])
    catch_up(team.id)
    assert indexed(owner_sql, team) == 4
    with viewer_transaction(system_viewer(team.id)) as transaction:
        indexer.remove(transaction.viewer, [row])
    assert indexed(owner_sql, team) == 1
    assert _tables(owner_sql, team) == before
    assert found(api, "lamp") == ["a lamp"]


def _tables(owner_sql: psycopg.Connection[Any], team: Team) -> list[Any]:
    shelves = "(select id from search_shelf where team_id = %s)"
    asked = [
        f"select term, encode(entries, 'hex') from search_posting where shelf_id in {shelves} order by 1",
        f"select words::text, length, part_of from search_doc where shelf_id in {shelves} order by 1",
        f"select sum(docs), sum(length) from search_cell where shelf_id in {shelves}",
    ]
    return [owner_sql.execute(text, [team.id]).fetchall() for text in asked]


def test_a_long_row_that_is_indexed_again_is_there_once(team: Team, api: Api, owner_sql: Any) -> None:
    """Fails when the parts of the last time stay beside those of this time."""
    remember(api, f"lamp {numbered(2 * PART)} cormorant", "a lamp")
    catch_up(team.id)
    before = sorted(_tables(owner_sql, team)[0])
    sums = _tables(owner_sql, team)[2]
    for _ in range(2):
        owner_sql.execute("update search_state set seq = 0 where team_id = %s", [team.id])
        catch_up(team.id)
        after = sorted(_tables(owner_sql, team)[0])
        assert [(term, len(entries)) for term, entries in after] == [(term, len(entries)) for term, entries in before]
        assert _tables(owner_sql, team)[2] == sums
    rebuild(team.id)
    assert indexed(owner_sql, team) == 4
    assert _tables(owner_sql, team)[2] == sums
    assert len(hits(api, "cormorant")) == 1


def test_a_long_row_that_expires_leaves_with_all_of_its_parts(team: Team, api: Api, owner_sql: Any) -> None:
    """Fails when parts of an expired row stay, and count in other rows' scores, for ever."""
    (row,) = remember(api, f"lamp {numbered(2 * PART)} cormorant", expires_at="2999-01-01T00:00:00Z")
    assert len(hits(api, "cormorant")) == 1
    past = "expires_at = now() - interval '1 s'"
    owner_sql.execute(f"update observation set {past} where id = %s", [row])
    owner_sql.execute(f"update search_doc set {past} where row_id = %s or part_of = %s", [row, row])
    assert found(api, "cormorant") == []
    remember(api, "something else")
    catch_up(team.id)
    assert indexed(owner_sql, team) == 1


def test_a_long_sealed_row_is_found_to_its_last_word(team: Team) -> None:
    """Fails when a confidential row's end is beyond what the index takes, or its phrase there is not confirmed."""
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    text = f"lamp {numbered(2 * PART)} the red cormorant"
    remember(high, text, sensitivity="confidential")
    assert found(high, "cormorant") == [text]
    assert exact(high, '"the red cormorant"') == [text]
    assert exact(high, f'"w{PART - 2} w{PART - 1} w{PART}"') == [text]
