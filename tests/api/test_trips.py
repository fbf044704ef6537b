"""How often the hot requests go to the database: each trip costs more than most statements (ADR 4)."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from memoryhub.core.db.pipeline import Pipeline
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.ledger import head

Trips = list[list[str]]


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trips]:
    """What is sent together, a list a trip; the first words of each statement."""
    found: Trips = []
    send = Pipeline.exchange

    def watched(self: Pipeline, statements: Sequence[tuple[str, Any]], *, begin: bool) -> Any:
        found.append([" ".join(text.split()[:3]) for text, _ in statements])
        return send(self, statements, begin=begin)

    monkeypatch.setattr(Pipeline, "exchange", watched)
    return found


def test_an_observation_is_logged_and_answered_in_three_trips(api: Api, trips: Trips) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("observations", {"task": "t", "content": "first"})
    trips.clear()
    api.make("observations", {"task": "t", "content": "second"})
    assert [len(trip) for trip in trips] == [1, 2, 4], trips
    assert trips[2] == ["insert into observation", "insert into event", "commit", "select settle(%s::uuid)"]


def test_what_may_be_a_repeat_is_read_back_in_the_trip_that_wrote_it(api: Api, trips: Trips) -> None:
    for body in ({"client_ref": "r"}, {"dedupe": True}):
        api.make("observations", {"content": "x", **body})
        assert trips[-1][-2:] == ["commit", "select settle(%s::uuid)"], trips
        assert trips[-1].count("commit") == 2, trips


def test_a_row_is_answered_as_it_is_read(team: Team, api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    for body in (
        {"content": "plain"},
        {"content": {"b": 1.50, "a": [1e3, None, "é\u200b"], "": {}}, "task": "t", "importance": 1},
        {"content": {}, "private": True, "pinned": True, "tags": ["e\u0301", "\u00e9", "x"]},
        {
            "content": "x" * 200_000,
            "occurred_at": "2026-01-01T12:00:00.123+05:30",
            "expires_at": "2999-01-01T00:00:00Z",
        },
        {"content": "low", "task": "t", "sensitivity": "public"},
    ):
        made = api.make("observations", body)
        assert made.pop("duplicate") is False
        assert made == api.get(f"observations/{made['id']}").data, body
        assert made["seq"] == head(team.id)


def test_a_page_is_read_in_three_trips(api: Api, trips: Trips) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("observations", {"task": "t", "content": "x"})
    trips.clear()
    assert len(api.results("observations?task=t")) == 1
    assert [len(trip) for trip in trips] == [1, 2, 2], trips


def test_what_is_read_after_a_commit_is_recorded_all_the_same(team: Team, owner_sql: Any) -> None:
    """A confidential row's reading, by the writer too, is in the access log before it is answered."""
    api = make_api(team, Sensitivity.CONFIDENTIAL)
    row = api.make("observations", {"content": "secret", "sensitivity": "confidential"})
    assert row["content"] == "secret"
    assert [found["id"] for found in api.results("observations")] == [row["id"]]
    readings = owner_sql.execute("select count(*) from access_log where row_id = %s", [row["id"]]).fetchone()
    assert readings == (2,)
