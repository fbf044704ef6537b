"""How often the hot requests go to the database: each trip costs more than most statements (ADR 4)."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from memoryhub.core.db.pipeline import Pipeline
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api

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
    assert [len(trip) for trip in trips] == [1, 2, 8], trips
    assert [trips[2][place] for place in (0, 2, 3, 6, 7)] == [
        "insert into observation",
        "commit",
        "begin",
        "commit",
        "select settle(%s::uuid)",
    ]


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
