"""An answer has at most ANSWER_BYTES: pages end earlier and go on, and what finds no room is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.conf import LazySettings

from escalations.actions import claims
from escalations.desk import timeline
from escalations.selectors import escalations
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from tests.support.api import Api, make_api, size
from tests.support.factories import make_person
from tests.support.facts import make

MOST, WHOLE = 1024 * 1024, 8 * 1024 * 1024
LONG = "ä" * 60_000  # 120 kB
ROWS = 18


@pytest.fixture(autouse=True)
def _small(settings: LazySettings) -> None:
    settings.ANSWER_BYTES = MOST


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, Sensitivity.CONFIDENTIAL)


def observe(api: Api, number: int) -> None:
    level = "confidential" if number % 3 == 0 else "internal"
    api.make("observations", {"task": "t", "content": f"{number} {LONG}", "sensitivity": level})


def decide(api: Api, number: int) -> None:
    api.make("decisions", {"task": "t", "decision": {"n": number, "text": LONG}, "reasoning": "r"})


def learn(api: Api, number: int) -> None:
    api.make("learnings", {"signal_type": "success", "details": f"{number} {LONG}", "context": {"a": 1}, "task": "t"})


def change(api: Api, number: int) -> None:
    reply = api.get("facts/changing")
    make(api, "changing", f"{number} {LONG}", reply.headers["ETag"] if reply.status == 200 else None)


def escalate(api: Api, number: int) -> Any:
    api.make("tasks", {"key": f"e{number}", "title": "T"})
    action = {"name": "x", "arguments": {"text": "x" * 120_000}}
    body = {"task": f"e{number}", "reason_code": "other", "reason": "r", "question": "q", "allowed": ["edit"]}
    return api.make("escalations", {**body, "action": action})


LISTS: dict[str, Callable[[Api, int], Any]] = {
    "observations?task=t&limit=100": observe,
    "decisions?limit=100": decide,
    "learnings?limit=100": learn,
    "tasks?limit=100": lambda api, number: api.make(
        "tasks", {"key": f"k{number}", "title": "T", "metadata": {"a": LONG}}
    ),
    "alerts?sent=true&limit=100": lambda api, number: api.make("alerts", {"to": "all", "insight": "ä" * 20_000}),
    "facts?limit=100": lambda api, number: make(api, f"k{number}", LONG),
    "facts/changing/history?limit=100": change,
    "escalations?limit=100": escalate,
}


def walk(api: Api, address: str | None, way: str) -> tuple[list[list[Any]], str]:
    """The ids (with versions) of each page, from one page to the next; and the address that leads back."""
    pages: list[list[Any]] = []
    while address is not None:
        reply = api.get(address)
        assert size(reply) <= MOST
        pages.append([(row["id"], row.get("version")) for row in reply.data["results"]])
        address, back = reply.data[way], reply.data["previous" if way == "next" else "next"]
        assert pages[-1], "a page that was led to has rows"
        assert len(pages) < 40
    return pages, back


@pytest.mark.parametrize("address", LISTS)
def test_pages_of_large_rows_end_earlier_and_nothing_is_skipped_or_repeated(address: str, api: Api, team: Team) -> None:
    make_api(team)  # somebody to alert
    api.make("tasks", {"key": "t", "title": "T"})
    for number in range(ROWS * 3 if "alerts" in address else ROWS):
        LISTS[address](api, number)
    forwards, back = walk(api, address, "next")
    assert len(forwards) > 2
    rows = [row for page in forwards for row in page]
    assert len(rows) == len(set(rows)) >= ROWS
    # One row more does not fit: a page is no shorter than it need be.
    assert min(len(page) for page in forwards[:-1]) >= 4
    # Backwards from the last page: the same rows, none twice.
    backwards, _ = walk(api, back, "previous")
    assert [row for page in reversed(backwards) for row in page] == rows[: -len(forwards[-1])]


def test_what_is_confidential_and_left_for_the_next_page_is_not_recorded_as_read(api: Api, owner_sql: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    for number in range(0, ROWS * 3, 3):
        observe(api, number)
    owner_sql.execute("delete from access_log")
    shown = api.results("observations?limit=100")
    ((read,),) = owner_sql.execute("select count(*) from access_log where row_type = 'observation'").fetchall()
    assert len(shown) < ROWS
    assert read == len(shown)


def test_facts_read_answers_what_fits_and_names_the_rest(api: Api) -> None:
    keys = [f"k{number:02}" for number in range(ROWS)]
    for key in keys:
        make(api, key, f"{key} {LONG}")
    asked, found, trips = [*keys[:9], "absent", *keys[9:], "last"], {}, 0
    wanted, missing = asked, []
    while wanted:
        reply = api.post("facts/read", {"keys": wanted})
        assert size(reply) <= MOST
        answered = [*reply.data["facts"], *reply.data["missing"]]
        assert sorted([*answered, *reply.data["unread"]]) == sorted(wanted)
        assert reply.data["unread"] == wanted[len(wanted) - len(reply.data["unread"]) :]
        found |= reply.data["facts"]
        missing += reply.data["missing"]
        wanted, trips = reply.data["unread"], trips + 1
    assert trips > 2
    assert missing == ["absent", "last"]
    assert {key: row["value"] for key, row in found.items()} == {key: f"{key} {LONG}" for key in keys}


def test_facts_read_goes_on_past_a_key_with_many_large_twins(team: Team) -> None:
    words = [f"w{number}" for number in range(12)]
    wide = make_api(team, Sensitivity.INTERNAL, words)
    for word in words:
        make(wide, "twins", LONG, compartments=[word])
    make(wide, "other", 1)
    reply = wide.post("facts/read", {"keys": ["twins", "other"]})
    assert size(reply) <= MOST
    assert len(reply.data["ambiguous"]["twins"]) == 12
    assert reply.data["unread"] == ["other"]
    assert wide.post("facts/read", {"keys": ["other"]}).data["facts"]["other"]["value"] == 1


def test_small_answers_say_that_nothing_is_missing(api: Api) -> None:
    make(api, "a", 1)
    assert api.post("facts/read", {"keys": ["a", "b"]}).data | {"facts": 0} == {
        "facts": 0,
        "missing": ["b"],
        "ambiguous": {},
        "unread": [],
    }


def test_a_package_of_large_rows_goes_on_and_names_the_facts_that_found_no_room(api: Api, team: Team) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    for number in range(ROWS):
        observe(api, number)
        decide(api, number)
        learn(api, number)
        make(api, f"f{number}", LONG, task="t")
    body = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    made = api.post("escalations", body)
    assert made.status == 201
    assert len(orjson.dumps(made.data)) <= MOST
    first = made.data["package"]["full_context"]
    assert all(first[kind] for kind in ("observations", "decisions", "facts", "learnings"))
    assert sorted([row["key"] for row in first["facts"]] + first["unread"]) == sorted(f"f{n}" for n in range(ROWS))

    address: str | None = f"escalations/{made.data['id']}/package?limit=100"
    rows: list[str] = []
    previous, pages = None, 0
    while address:
        reply = api.get(address)
        assert size(reply) <= MOST
        context = reply.data["full_context"]
        rows += sorted(row["id"] for kind in ("observations", "decisions") for row in context[kind])[::-1]
        previous, address, pages = reply.data["previous"], reply.data["next"], pages + 1
    assert pages > 3
    assert rows == sorted(set(rows), reverse=True)
    assert len(rows) == 2 * ROWS
    # And back.
    back: list[str] = []
    while previous:
        reply = api.get(previous)
        assert size(reply) <= MOST
        context = reply.data["full_context"]
        back = [row["id"] for kind in ("observations", "decisions") for row in context[kind]] + back
        previous = reply.data["previous"]
    assert sorted(back) == sorted(rows)[len(rows) - len(back) :]
    assert len(back) > ROWS


def test_a_timeline_of_large_rows_tells_each_item_once(api: Api, team: Team) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    for number in range(ROWS):
        observe(api, number)
        decide(api, number)
    row_id = api.make("escalations", {"task": "t", "reason_code": "other", "reason": "r", "question": "q"})["id"]
    person = make_person(team, clearance=Sensitivity.CONFIDENTIAL)
    claims.claim(person.viewer, escalation_id=row_id)
    with viewer_transaction(person.viewer, read_only=True):
        row = escalations.escalation(person.viewer, row_id)
        whole = timeline.PAGE_BYTES
        pages, position = [], None
        timeline.PAGE_BYTES = 5 * 120_000
        try:
            while True:
                items, position = timeline.page(
                    person.viewer, row, timeline.BEFORE, timeline.TimelineFilters(), position
                )
                pages.append(items)
                if position is None:
                    break
        finally:
            timeline.PAGE_BYTES = whole
    ids = [item.id for page in pages for item in page]
    assert ids == sorted(set(ids), reverse=True)
    assert sum(item.kind in ("observation", "decision") for page in pages for item in page) == 2 * ROWS
    assert max(len(page) for page in pages) < 20


def test_relevant_learnings_end_where_an_answer_does(api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    for number in range(ROWS):
        learn(api, number)
    reply = api.post("learnings/relevant", {"context": {"a": 1}, "limit": 100})
    assert size(reply) <= MOST
    assert 4 <= len(reply.data["results"]) < ROWS


def test_a_batch_of_nothing_but_faults_is_answered_within_bounds(api: Api) -> None:
    item = {f"{number}{'ä' * 180}": 1 for number in range(20)}
    reply = api.post("observations/batch", orjson.dumps({"items": [item] * 1000}))
    assert reply.status == 207
    assert len(orjson.dumps(reply.data)) <= WHOLE
    assert reply.data["results"][999]["error"]["errors"][0]["code"] == "unknown_field"


def test_a_page_at_the_size_that_is_the_default(api: Api, settings: LazySettings) -> None:
    settings.ANSWER_BYTES = WHOLE
    api.make("tasks", {"key": "t", "title": "T"})
    content = {"text": "x" * 250_000}
    for _ in range(2):
        batch = {"items": [{"content": content, "task": "t"}] * 25}
        api.make("observations/batch", batch)
    first = api.get("observations?limit=100&task=t")
    assert 7 * MOST < size(first) <= WHOLE
    rest = api.get(first.data["next"])
    assert len(first.data["results"]) + len(rest.data["results"]) == 50
    assert rest.data["next"] is None
