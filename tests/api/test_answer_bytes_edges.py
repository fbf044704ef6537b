"""The largest rows that may be stored, in every answer that gathers rows by itself; pages: test_answer_bytes.py."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import combinations
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from django.conf import LazySettings

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api, size
from tests.support.facts import make
from tests.support.searching import ask, remember

MIB = 1024 * 1024
LARGE = "x" * 250_000
WORDS = [f"{'w' * 37}{number:02}" for number in range(20)]


@pytest.fixture
def wide(team: Team) -> Api:
    return make_api(team, Sensitivity.CONFIDENTIAL, WORDS)


def peak(ask: Callable[[], Any]) -> tuple[Any, int]:
    """What it gives, and the bytes of Python's that it needed at once."""
    ask()  # what is made once is there
    tracemalloc.start()
    try:
        found = ask()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def twins(api: Api, key: str, labels: list[list[str]], value: Any = LARGE) -> None:
    for number, words in enumerate(labels):
        level = "confidential" if number % 4 == 0 else "internal"
        make(api, key, [number, value], compartments=words, sensitivity=level)


# Facts with many twins


def test_a_fact_with_forty_large_twins_is_read_as_one(wide: Api) -> None:
    twins(wide, "k", [[word] for word in WORDS[:19]] + [[*pair] for pair in combinations(WORDS[:7], 2)])
    etag = make(wide, "k", ["top", LARGE], sensitivity="confidential", compartments=WORDS)
    seq = wide.get("facts/k").data["seq"]
    for query in ("", f"?as_of_seq={seq}", f"?label={quote('+'.join(['confidential', *WORDS]), safe='')}"):
        reply, used = peak(lambda query=query: wide.get(f"facts/k{query}"))  # type: ignore[misc]
        assert (reply.data["value"], reply.headers["ETag"]) == (["top", LARGE], etag)
        assert used < 4 * MIB, "the other forty are not read"
    low = wide.get(f"facts/k?label=internal%2B{WORDS[1]}").data
    assert (low["value"], low["compartments"]) == ([1, LARGE], [WORDS[1]])
    assert [row["value"] for row in wide.results("facts/k/history")] == [["top", LARGE]]
    read = wide.post("facts/read", {"keys": ["k"]}).data
    assert read["facts"]["k"]["value"] == ["top", LARGE]
    assert (read["unread"], read["ambiguous"]) == ([], {})


def test_an_ambiguous_fact_with_large_twins_names_its_labels(wide: Api) -> None:
    twins(wide, "k", [[word] for word in WORDS])
    (reply, used) = peak(lambda: wide.get("facts/k"))
    assert reply.refusal == (409, "ambiguous_key")
    assert len(reply.data["labels"]) == 20
    assert used < 4 * MIB


def test_a_task_with_large_twins_likewise(wide: Api) -> None:
    for word in WORDS:
        wide.make("tasks", {"key": "t", "title": word, "metadata": {"a": LARGE}, "compartments": [word]})
    assert wide.get("tasks/t").refusal == (409, "ambiguous_key")
    wide.make("tasks", {"key": "t", "title": "top", "compartments": WORDS})
    reply, used = peak(lambda: wide.get("tasks/t"))
    assert reply.data["title"] == "top"
    assert used < 4 * MIB
    assert wide.get(f"tasks/t?label=internal%2B{WORDS[3]}").data["title"] == WORDS[3]


def test_the_labels_of_ambiguous_keys_count_as_what_is_read(wide: Api, settings: LazySettings) -> None:
    keys = [f"k{number}" for number in range(12)]
    for key in keys:
        twins(wide, key, [[word for word in WORDS if word != left] for left in WORDS[:10]], 1)
    make(wide, "last", 1)
    settings.ANSWER_BYTES = 256 * 1024 + 30_000
    wanted, seen = [*keys, "last"], []
    while wanted:
        reply = wide.post("facts/read", {"keys": wanted})
        assert size(reply) <= 31_000
        answered = [*reply.data["ambiguous"], *reply.data["facts"]]
        assert answered
        assert reply.data["unread"] == wanted[len(answered) :]
        seen, wanted = [*seen, *answered], reply.data["unread"]
    assert seen == [*keys, "last"]


# Packages


def test_a_package_of_the_largest_rows_at_the_size_that_is_the_default(api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T", "metadata": {"a": LARGE}})
    api.make("observations/batch", {"items": [{"content": LARGE, "task": "t"}] * 25})
    api.make("observations/batch", {"items": [{"content": LARGE, "task": "t"}] * 15})
    for number in range(40):
        make(api, f"f{number}", LARGE, task="t")
        if number % 2:
            api.make("decisions", {"task": "t", "decision": LARGE, "reasoning": "ä" * 20_000})
            made = {"signal_type": "success", "details": LARGE, "context": {"a": LARGE}, "task": "t"}
            api.make("learnings", made)
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "d" * 60_000}}}
    action = {"name": "n", "arguments": {"a": LARGE}, "schema": schema}
    words = {"reason": "ä" * 20_000, "question": "ä" * 20_000, "recommendation": "ä" * 20_000}
    body = {"task": "t", "reason_code": "other", "allowed": ["edit"], "action": action, **words}
    made = api.post("escalations", body)
    assert made.status == 201
    assert 4 * MIB < len(orjson.dumps(made.data)) <= 8 * MIB
    # A joined request is answered with the same.
    again = api.post("escalations", {**body, "question": "again"})
    assert size(again) <= 8 * MIB
    assert size(api.get(f"escalations/{made.data['id']}")) < MIB
    address, pages, rows = f"escalations/{made.data['id']}/package?limit=10000", 0, []
    while address:
        page = api.get(address)
        assert size(page) <= 8 * MIB
        rows += [row["id"] for kind in ("observations", "decisions") for row in page.data["full_context"][kind]]
        address, pages = page.data["next"], pages + 1
    assert len(rows) == len(set(rows)) == 60
    assert pages > 2
    assert size(api.get("tasks/t/context?budget=100000")) < MIB


def test_tags_count_as_well_as_text(api: Api, settings: LazySettings) -> None:
    settings.ANSWER_BYTES = MIB
    api.make("tasks", {"key": "t", "title": "T"})
    tags = [f"{number:02}{'ä' * 98}" for number in range(50)]
    for part in range(4):
        api.make("observations/batch", {"items": [{"content": str(part), "task": "t", "tags": tags}] * 75})
    row = api.make("escalations", {"task": "t", "reason_code": "other", "reason": "r", "question": "q"})
    address = f"escalations/{row['id']}/package?limit=10000"
    found, used = peak(lambda: api.get(address))
    assert size(found) <= MIB
    assert used < 10 * MIB, "not all 300 are read for a page of some 70"
    count = 0
    while address:
        page = api.get(address)
        assert size(page) <= MIB
        count, address = count + len(page.data["full_context"]["observations"]), page.data["next"]
    assert count == 300


# Insights


@pytest.mark.parametrize("format", ["json", "csv"])
def test_insights_that_are_too_long_are_refused_and_a_shorter_period_is_not(
    team: Team, settings: LazySettings, format: str
) -> None:
    reader = make_api(team, scopes=["insights:read"])
    period = f"insights?by=week&format={format}&from="
    settings.ANSWER_BYTES = 5_000
    long = reader.get(f"{period}2025-01-01T00:00:00Z&to=2026-12-31T00:00:00Z")
    assert long.refusal == (400, "invalid")
    assert (long.data["errors"][0]["pointer"], long.data["errors"][0]["code"]) == ("?by", "too_large")
    assert reader.get(f"{period}2026-12-01T00:00:00Z&to=2026-12-31T00:00:00Z").status == 200


# Search


def test_search_says_more_where_others_match_beyond_the_limit(api: Api, team: Team) -> None:
    remember(api, *(f"kestrel {number}" for number in range(5)))
    for limit, more in ((1, True), (4, True), (5, False), (6, False), (100, False)):
        reply = ask(api, "kestrel", limit=limit)
        assert (len(reply.data["results"]), reply.data["more"]) == (min(limit, 5), more), limit
    assert ask(api, "heron").data == {"results": [], "more": False}
    # What is hidden is no more.
    secret = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])
    remember(secret, "kestrel hidden", sensitivity="confidential", compartments=["finance"])
    assert ask(api, "kestrel", limit=5).data["more"] is False
    assert ask(secret, "kestrel", limit=5).data["more"] is True


def test_search_says_more_where_hits_find_no_room(api: Api) -> None:
    for number in range(3):
        remember(api, *(f"kestrel {number} {'heron ' * 40_000}" for _ in range(14)))
    reply = ask(api, "kestrel", limit=100)
    assert 6 * MIB < size(reply) <= 8 * MIB
    assert (reply.data["more"], len(reply.data["results"]) < 42) == (True, True)
    assert ask(api, "kestrel", limit=3).data["more"] is True
