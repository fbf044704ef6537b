"""Leases over time: they run out by the database's clock, with an event; and the next free task is found fast."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from escalations.actions import claims
from memoryhub.core.access.clearance import label_params
from memoryhub.core.access.labels import ensure_label
from memoryhub.core.db import statements
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory import tasks as sweeps
from memoryhub.memory.actions import leases
from tests.support.api import Api, at_once, make_api
from tests.support.factories import Person, make_team
from tests.support.ledger import events_of
from tests.support.timing import wait_until

ASKED = {"reason_code": "other", "reason": "r", "question": "q"}


def make_tasks(api: Api, *keys: str) -> None:
    for key in keys:
        api.make("tasks", {"key": key, "title": key})


def run_out(team: Team, owner_sql: psycopg.Connection[Any], *keys: str) -> None:
    """As if their time had passed."""
    owner_sql.execute(
        "update task set lease_expires_at = now() - interval '1 second' where team_id = %s and key = any (%s)",
        [team.id, list(keys)],
    )


def events(team: Team, type: str = "task.run_out") -> list[dict[str, Any]]:
    return [event.data for event in events_of(team.id, type)]


def test_a_lease_runs_out_by_itself(team: Team, api: Api, worker: object) -> None:
    """Nobody touches the task: the worker's sweep opens it, and the ledger says so, once."""
    make_tasks(api, "t")
    token = api.make("tasks/t/claim", {"ttl_seconds": 1})["token"]
    before = api.get("tasks/t").data["version"]
    wait_until(lambda: api.get("tasks/t").data["status"] == "open")
    shown = api.get("tasks/t").data
    assert (shown["in_progress"], shown["lease"], shown["assigned_to"]) == (False, None, None)
    assert events(team) == [{"status": "open", "version": shown["version"], "token": token}]
    assert shown["version"] == before + 1
    assert api.post("tasks/t/complete", {"token": token}).refusal == (409, "lease_lost")
    assert api.make("tasks/t/claim")["token"] == token + 1


def test_a_renewed_lease_does_not_run_out(team: Team, api: Api, worker: object) -> None:
    make_tasks(api, "kept", "left")
    token = api.make("tasks/kept/claim", {"ttl_seconds": 1})["token"]
    api.make("tasks/left/claim", {"ttl_seconds": 1})
    api.make("tasks/kept/renew", {"token": token, "ttl_seconds": 600})
    wait_until(lambda: api.get("tasks/left").data["status"] == "open")
    assert api.get("tasks/kept").data["lease"]["token"] == token
    assert len(events(team)) == 1


def test_a_sweep_ends_the_leases_of_all_teams_in_small_batches(monkeypatch: pytest.MonkeyPatch, owner_sql: Any) -> None:
    monkeypatch.setattr(sweeps, "LEASES", 2)
    teams = [make_team() for _ in range(3)]
    keys = [f"t{number}" for number in range(5)]
    for team in teams:
        api = make_api(team)
        make_tasks(api, *keys)
        for key in keys:
            api.make(f"tasks/{key}/claim")
        run_out(team, owner_sql, *keys)
    sweeps.run_out_leases()
    for team in teams:
        assert len(events(team)) == len(keys)
        assert make_api(team).results("tasks?status=in_progress") == []


def test_what_a_person_has_does_not_run_out_by_the_agents_sweep(
    team: Team, api: Api, person: Person, owner_sql: Any
) -> None:
    make_tasks(api, "t", "u")
    for key in ("t", "u"):
        api.make(f"tasks/{key}/claim")
    claims.claim(person.viewer, escalation_id=api.make("escalations", {"task": "t", **ASKED})["id"])
    api.make("escalations", {"task": "u", **ASKED})
    run_out(team, owner_sql, "t", "u")
    sweeps.run_out_leases()
    # Ended with their claim, by whoever meets it; read as free as soon as the database's clock says so.
    held = owner_sql.execute("select human_owned, holder_id from task where team_id = %s and key = 't'", [team.id])
    assert held.fetchone() == (True, person.membership.id)
    over = api.get("tasks/t").data
    assert (over["status"], over["human_owned"], over["lease"]) == ("escalated", False, None)
    # Only asked about, and held by the agent until now: free, and escalated as before.
    asked = api.get("tasks/u").data
    assert (asked["status"], asked["lease"]) == ("escalated", None)
    assert [event["status"] for event in events(team)] == ["escalated"]
    assert api.post("tasks/claim-next").status == 204


def test_a_task_that_is_being_changed_is_swept_the_next_time(team: Team, api: Api, owner_sql: Any) -> None:
    make_tasks(api, "t", "u")
    for key in ("t", "u"):
        api.make(f"tasks/{key}/claim")
    run_out(team, owner_sql, "t", "u")
    with owner_sql.transaction():
        owner_sql.execute("select from task where team_id = %s and key = 't' for no key update", [team.id])
        assert leases.run_out(system_viewer(team.id)) == 1
    assert leases.run_out(system_viewer(team.id)) == 1
    assert leases.run_out(system_viewer(team.id)) == 0
    assert len(events(team)) == 2


def test_who_takes_over_what_has_run_out_leaves_the_event_too(team: Team, api: Api, owner_sql: Any) -> None:
    """Before the sweep comes: the ledger tells of the end of the first lease all the same."""
    make_tasks(api, "t", "u")
    first = [api.make(f"tasks/{key}/claim")["token"] for key in ("t", "u")]
    run_out(team, owner_sql, "t", "u")
    other = make_api(team)
    second = [other.make("tasks/t/claim")["token"], other.make("tasks/claim-next")["lease"]["token"]]
    assert second == [token + 1 for token in first]
    assert leases.run_out(system_viewer(team.id)) == 0
    told = events(team)
    assert [event["token"] for event in told] == first
    versions = [event["version"] for event in events(team, "task.claim")[2:]]
    assert [event["version"] + 1 for event in told] == versions
    assert versions == [other.get(f"tasks/{key}").data["version"] for key in ("t", "u")]


def test_a_claim_that_waits_for_another_judges_what_it_finds_then(team: Team, api: Api, owner_sql: Any) -> None:
    """The task is freed while the claimer waits for its row: it gets it, with the whole time from then on."""
    make_tasks(api, "t")
    token = api.make("tasks/t/claim")["token"]

    def free() -> None:
        with owner_sql.transaction():
            owner_sql.execute(
                "update task set holder_id = null, lease_expires_at = null where team_id = %s and key = 't'", [team.id]
            )
            time.sleep(0.5)

    def claim() -> Any:
        time.sleep(0.2)
        return make_api(team).post("tasks/t/claim", {"ttl_seconds": 60})

    _, claimed = at_once(free, claim)
    assert (claimed.status, claimed.data["token"]) == (200, token + 1)


def test_claims_at_once_by_state_and_metadata_get_each_task_once(team: Team, api: Api, owner_sql: Any) -> None:
    """Eight drain the same tasks by three ways, some of which have run out: nobody gets what another has."""
    keys = [f"t{number:02}" for number in range(24)]
    for key in keys:
        api.make("tasks", {"key": key, "title": key, "metadata": {"kind": "mail"}})
    dead = keys[::3]
    for key in dead:
        api.make(f"tasks/{key}/claim")
    run_out(team, owner_sql, *dead)
    ways: list[dict[str, Any]] = [{}, {"metadata": {"kind": "mail"}}, {"status": "open"}, {"status": "in_progress"}]

    def drain(mine: Api, way: dict[str, Any]) -> list[tuple[str, int]]:
        got = []
        while (reply := mine.post("tasks/claim-next", way)).status == 200:
            got.append((reply.data["task"]["key"], reply.data["lease"]["token"]))
        assert reply.status == 204
        return got

    got = at_once(*(partial(drain, make_api(team), ways[number % 4]) for number in range(8)))
    taken = sorted(pair for part in got for pair in part)
    assert taken == [(key, 2 if key in dead else 1) for key in keys]


def rows_read(team: Team, status: str | None) -> int:
    """Of tasks, by PostgreSQL, under this team's row-level security, until it has taken the next free one."""
    viewer = system_viewer(team.id)
    with CaptureQueriesContext(connection) as sent, viewer_transaction(viewer):
        leases.claim_next(viewer, status=status)
    statement, *_ = [query["sql"] for query in sent if query["sql"].lstrip().startswith("with free")]
    asked = {**label_params(viewer), "holder": viewer.membership, "seconds": 60}
    with viewer_transaction(viewer):
        statements.queue(leases.IN_ORDER)
        ((told,),) = statements.run(f"explain (analyze, format json) {statement}", asked)
        transaction.set_rollback(True)
    return sum(_read(told[0]["Plan"] if isinstance(told, list) else json.loads(told)[0]["Plan"]))


def _read(node: dict[str, Any]) -> Iterator[int]:
    """How many rows each look at the tasks read; those of labels and members are as many as there are teams."""
    if node.get("Relation Name") == "task":
        yield sum(count for name, count in node.items() if name == "Actual Rows" or name.startswith("Rows Removed by"))
    for below in node.get("Plans", ()):
        yield from _read(below)


def copy_tasks(owner_sql: Any, team: Team, status: str, count: int) -> None:
    """Under each label of the team, so many older tasks of this status, each like the task `a`."""
    owner_sql.execute(
        "insert into task (id, team_id, label_id, sensitivity, body, author_id, event_id, key, status, version,"
        " text_version, reopen_count, token, human_owned)"
        " select uuidv7(interval '-1 day'), t.team_id, l.id, l.sensitivity, body, author_id, event_id, key || %s || n,"
        " %s, 1, 1, 0, 0, false from task t join label l using (team_id), generate_series(1, %s) n"
        " where team_id = %s and key = 'a'",
        [status, status, count, team.id],
    )
    owner_sql.execute("analyze task")


@pytest.mark.parametrize("status", [None, "open", "blocked"])
def test_the_next_free_task_is_found_among_thousands_that_are_done(
    team: Team, api: Api, owner_sql: Any, status: str | None
) -> None:
    for _ in range(20):  # teams whose tasks are open, so that a planner expects as much of this one
        make_tasks(make_api(make_team()), "a")
    make_tasks(api, "a", "b")
    copy_tasks(owner_sql, team, "done", 5_000)
    assert rows_read(team, status) < 50


@pytest.mark.parametrize("status", [None, "open"])
def test_the_next_free_task_is_found_among_thousands_that_are_free(
    team: Team, api: Api, owner_sql: Any, status: str | None
) -> None:
    other = make_team()  # of many labels, so that a planner expects few of this team's rows under its one label
    make_tasks(make_api(other), "a")
    with viewer_transaction(system_viewer(other.id)):
        for number in range(200):
            ensure_label(system_viewer(other.id), Sensitivity.INTERNAL, [f"c{number}"])
    copy_tasks(owner_sql, other, "open", 100)
    make_tasks(api, "a")
    copy_tasks(owner_sql, team, "done", 10_000)
    copy_tasks(owner_sql, team, "open", 10_000)
    assert rows_read(team, status) < 50
