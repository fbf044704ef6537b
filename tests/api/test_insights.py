"""Insights: every figure of a small, known past; by agent and by week; as CSV; nothing of what is hidden."""

import csv
import io
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import DEFAULT_SCOPES, Scope
from escalations.actions import answers, claims
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.factories import Person, make_person, make_team
from tests.support.history import History

ASKED = {"reason_code": "other", "reason": "r", "question": "q"}
BOTH = "from=2026-09-28T00:00:00Z&to=2026-10-12T00:00:00Z"
NONE = {"count": 0, "median": None, "p90": None}
REVOKE = """
insert into event (id, team_id, label_id, type, actor_id, row_type, row_id, task_id, data)
select gen_random_uuid(), team_id, label_id, 'decision.revoke', %s, 'decision', gen_random_uuid(), id, '{}'
from task where team_id = %s and key = 'b'
"""


@dataclass
class Past:
    """Two weeks of work, 2026-W40 and W41, by Ann, Bob and a person, Eve."""

    team: Team
    ann: Api
    bob: Api
    eve: Person
    reader: Api


def insights(api: Api, query: str) -> list[Any]:
    reply = api.get(f"insights?{query}")
    assert reply.status == 200, reply
    rows: list[Any] = reply.data["results"]
    return rows


def work(api: Api, history: History, key: str, created: str, claimed: str, ended: str, verb: str = "complete") -> None:
    api.make("tasks", {"key": key, "title": key})
    history.at(created)
    token = api.make(f"tasks/{key}/claim")["token"]
    history.at(claimed)
    api.make(f"tasks/{key}/{verb}", {"token": token})
    history.at(ended)


def ask(api: Api, history: History, key: str, created: str, asked: str) -> UUID:
    api.make("tasks", {"key": key, "title": key})
    api.make(f"tasks/{key}/claim")
    history.at(created)
    made = api.make("escalations", {"task": key, **ASKED})["id"]
    history.at(asked)
    return UUID(made)


@pytest.fixture(scope="module")
def past(owner_sql: psycopg.Connection[Any]) -> Past:
    team = make_team("past")
    ann, bob = (make_api(team, name=name) for name in ("ann", "=bob"))
    eve = make_person(team, name="eve")
    history = History(owner_sql, team)
    history.at("2026-09-01T00:00:00Z")  # the team itself
    work(ann, history, "a", "2026-09-28T10:00:00Z", "2026-09-28T10:10:00Z", "2026-09-28T11:00:00Z")
    work(ann, history, "b", "2026-09-28T12:00:00Z", "2026-09-28T12:03:20Z", "2026-09-28T14:00:00Z")
    c = ask(bob, history, "c", "2026-09-29T09:00:00Z", "2026-09-29T10:00:00Z")
    claims.claim(eve.viewer, escalation_id=c)
    history.at("2026-09-29T10:05:00Z")
    answers.decide(eve.viewer, escalation_id=c, verdict="respond", message="Yes.")
    history.at("2026-09-29T10:20:00Z")

    token = bob.make("tasks/c/claim")["token"]
    bob.make("tasks/c/complete", {"token": token})
    history.at("2026-10-05T09:00:00Z")  # six days after it was made
    ann.make("tasks/a/reopen", {"reason": "It came back."})
    token = ann.make("tasks/a/claim")["token"]
    ann.make("tasks/a/complete", {"token": token})
    history.at("2026-10-06T10:00:00Z")  # eight days after it was made
    with owner_sql.transaction():
        owner_sql.execute("select set_config('hub.team', %s, true)", [str(team.id)])
        owner_sql.execute(REVOKE, [eve.membership.id, team.id])
    history.at("2026-10-06T11:00:00Z")
    d = ask(bob, history, "d", "2026-10-07T09:00:00Z", "2026-10-07T09:30:00Z")
    claims.claim(eve.viewer, escalation_id=d)
    history.at("2026-10-07T09:40:00Z")
    answers.finish(eve.viewer, escalation_id=d, done="Done by hand.")
    history.at("2026-10-07T10:00:00Z")
    work(bob, history, "e", "2026-10-08T09:00:00Z", "2026-10-08T09:00:00Z", "2026-10-08T09:30:00Z", "fail")
    f = ask(bob, history, "f", "2026-10-09T09:00:00Z", "2026-10-09T09:30:00Z")
    bob.make(f"escalations/{f}/cancel", {"reason": "Solved."})
    history.at("2026-10-09T10:00:00Z")
    reader = make_api(team, name="reader", scopes=[Scope.INSIGHTS_READ])
    return Past(team, ann, bob, eve, reader)


def times(count: int, median: float, p90: float) -> dict[str, Any]:
    return {"count": count, "median": median, "p90": p90}


def test_the_figures_of_a_known_past(past: Past) -> None:
    (row,) = insights(past.reader, BOTH)
    day = 86_400.0
    # a counts once, with its second end: eight days; b two hours; c six days; d one hour, by a person.
    completion = sorted([8 * day, 7_200, 6 * day, 3_600])
    assert row == {
        "week": None,
        "agent": None,
        "kind": None,
        "completed": 4,
        "failed": 1,
        "completion_time": times(4, (7_200 + 6 * day) / 2, round(completion[2] + 0.7 * 2 * day, 3)),
        # From the first claim: a from 10:10, b from 12:03:20, c from 9:00; d was ended by a person.
        "working_time": times(3, 6 * day, round(6 * day + 0.8 * (2 * day - 600), 3)),
        "reworked": 2,
        "rework_rate": 0.5,
        "worked_on": 6,
        "escalated": 3,
        "escalation_rate": 0.5,
        "outcomes": dict.fromkeys(("approve", "edit", "reject", "ignore", "expire"), 0)
        | {"respond": 1, "finish": 1, "cancel": 1},
        "time_to_claim": times(2, 450.0, 570.0),
        "time_to_answer": times(2, 1_500.0, 1_740.0),
    }


def test_week_by_week_with_those_in_which_nothing_happened(past: Past) -> None:
    rows = insights(past.reader, "by=week&from=2026-09-21T00:00:00Z&to=2026-10-12T00:00:00Z")
    told = [(row["week"], row["completed"], row["rework_rate"], row["worked_on"], row["escalated"]) for row in rows]
    assert told == [("2026-W39", 0, None, 0, 0), ("2026-W40", 2, 0.0, 3, 1), ("2026-W41", 3, 0.6667, 5, 2)]
    assert rows[0]["completion_time"] == NONE
    assert rows[1]["completion_time"] == times(2, 5_400.0, 6_840.0)
    assert rows[1]["escalation_rate"] == 0.3333


def test_what_each_did_is_theirs(past: Past) -> None:
    rows = {row["agent"]: row for row in insights(past.reader, f"by=agent&{BOTH}")}
    assert {name: row["kind"] for name, row in rows.items()} == {"ann": "agent", "=bob": "agent", "eve": "human"}
    ann, bob, eve = rows["ann"], rows["=bob"], rows["eve"]
    # Rework is of whoever had the task last, not of who found it wanting.
    assert (ann["completed"], ann["reworked"], ann["rework_rate"], ann["escalation_rate"]) == (2, 2, 1.0, 0.0)
    assert (bob["completed"], bob["failed"], bob["escalated"], bob["worked_on"]) == (1, 1, 3, 4)
    assert (bob["outcomes"]["respond"], bob["outcomes"]["finish"], bob["outcomes"]["cancel"]) == (1, 1, 1)
    assert (eve["completed"], eve["completion_time"]["median"], eve["working_time"]) == (1, 3_600.0, NONE)
    both = insights(past.reader, f"by=agent,week&{BOTH}")
    assert [(row["week"], row["agent"], row["completed"]) for row in both] == [
        ("2026-W40", "=bob", 0),
        ("2026-W40", "ann", 2),
        ("2026-W41", "=bob", 1),
        ("2026-W41", "ann", 1),
        ("2026-W41", "eve", 1),
    ]


def test_a_period_has_its_beginning_and_not_its_end(past: Past) -> None:
    (row,) = insights(past.reader, "from=2026-09-28T11:00:00Z&to=2026-09-28T14:00:00Z")
    assert (row["completed"], row["worked_on"]) == (1, 2)
    (row,) = insights(past.reader, "from=2026-09-28T13:00:00%2B02:00&to=2026-09-28T14:00:00.001Z")
    assert row["completed"] == 2


def test_without_a_period_it_is_the_last_twelve_weeks(api: Api, team: Team) -> None:
    reader = make_api(team, scopes=[Scope.INSIGHTS_READ])
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("tasks/t/complete", {"token": api.make("tasks/t/claim")["token"]})
    reply = reader.get("insights?by=week")
    assert len(reply.data["results"]) == 12
    assert [row["completed"] for row in reply.data["results"]] == [0] * 11 + [1]
    assert reply.data["by"] == ["week"]
    assert reply.data["from"].endswith("T00:00:00Z")


def test_hidden_work_changes_no_figure(owner_sql: psycopg.Connection[Any]) -> None:
    team = make_team()
    low = make_api(team, scopes=Scope.values, name="low")
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], scopes=Scope.values, name="high")
    query = "by=agent,week"
    low.make("tasks", {"key": "seen", "title": "T"})
    low.make("tasks/seen/complete", {"token": low.make("tasks/seen/claim")["token"]})
    before = low.get(f"insights?{query}").data["results"]
    high.make("tasks", {"key": "h", "title": "H", "sensitivity": "confidential", "compartments": ["finance"]})
    high.make("escalations", {"task": "h", **ASKED})
    (event,) = owner_sql.execute(
        "select id from event where team_id = %s and type = 'escalation.escalate'", [team.id]
    ).fetchone()
    assert low.get(f"insights?{query}").data["results"] == before
    assert [row["agent"] for row in insights(high, query)] == ["high", "low"]
    # Nor does an event whose label one may see, on a task that one may not.
    seen = "(select label_id from task where team_id = %s and key = 'seen')"
    owner_sql.execute(f"update event set label_id = {seen} where id = %s", [team.id, event])
    assert low.get(f"insights?{query}").data["results"] == before


def test_csv_is_a_table_that_runs_nothing(past: Past) -> None:
    reply, raw = csv_of(past.reader, f"by=agent&format=csv&{BOTH}")
    assert reply["Content-Type"] == "text/csv; charset=utf-8; header=present"
    name = f"insights-{past.team.slug}-2026-09-28-2026-10-12.csv"
    assert reply["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "no-store" in reply["Cache-Control"]
    rows = list(csv.DictReader(io.StringIO(raw)))
    assert {row["agent"] for row in rows} == {"'=bob", "ann", "eve"}
    ann = next(row for row in rows if row["agent"] == "ann")
    assert (ann["completed"], ann["rework_rate"], ann["week"], ann["outcomes_respond"]) == ("2", "1.0", "", "0")
    assert ann["working_time_count"] == "2"
    assert raw.count("\r\n") == 4


def csv_of(api: Api, query: str) -> tuple[Any, str]:
    response = api._client.get(f"/api/v1/insights?{query}", headers={"Authorization": f"Bearer {api.key}"})
    assert response.status_code == 200
    return response, response.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-10-01T00:00:00Z&to=2026-10-01T00:00:00Z",
        "from=2026-10-02T00:00:00Z&to=2026-10-01T00:00:00Z",
        "from=2024-01-01T00:00:00Z&to=2026-10-01T00:00:00Z",
        "from=9999-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00Z",
        "to=9999-12-31T23:59:59Z&from=9998-12-31T23:59:59Z&by=month",
        "by=week,,agent",
        "format=xml",
    ],
)
def test_what_makes_no_sense_is_refused(past: Past, query: str) -> None:
    assert past.reader.get(f"insights?{query}").refusal == (400, "invalid")


def test_the_ends_of_time_are_periods_too(past: Past) -> None:
    first, last = ("0001-01-01", "0002-01-01"), ("9999-01-01", "9999-12-31")
    for query in (f"from={begin}T00:00:00Z&to={end}T23:59:59Z" for begin, end in (first, last)):
        assert {row["completed"] for row in insights(past.reader, f"by=week&{query}")} == {0}


def test_it_has_a_scope_of_its_own(team: Team) -> None:
    assert make_api(team, scopes=DEFAULT_SCOPES).get("insights").refusal == (403, "forbidden")


def test_it_is_one_query_that_a_partial_index_serves(past: Past) -> None:
    with CaptureQueriesContext(connection) as asked:
        insights(past.reader, f"by=agent,week&{BOTH}")
    assert sum("life as materialized" in query["sql"] for query in asked) == 1
    assert len(asked) <= 6
