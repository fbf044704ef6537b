"""What expires: out of sight at once, removed later in small batches, kept while pinned or part of an open case."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from escalations.actions import answers, claims
from memoryhub.core.models import Event, Sensitivity, Team
from memoryhub.core.viewers import system_viewer
from memoryhub.memory import tasks as sweeps
from memoryhub.memory.actions import retention
from tests.support.api import Api, make_api
from tests.support.commands import run
from tests.support.factories import Person, make_team
from tests.support.ledger import events_of
from tests.support.timing import wait_until

LATER = "2999-01-31T09:30:00Z"
ASKED = {"reason_code": "other", "reason": "r", "question": "q"}


@pytest.fixture
def expire(owner_sql: Any) -> Callable[..., None]:
    def over(*rows: str) -> None:
        """As if their time had passed."""
        owner_sql.execute("update observation set expires_at = now() where id = any (%s::uuid[])", [list(rows)])

    return over


@pytest.fixture
def stored(owner_sql: Any) -> Callable[..., int]:
    def count(*rows: str) -> int:
        """How many of these are still in the table."""
        found = owner_sql.execute("select count(*) from observation where id = any (%s::uuid[])", [list(rows)])
        return int(found.fetchone()[0])

    return count


def log(api: Api, content: str, **fields: Any) -> str:
    return str(api.make("observations", {"content": content, "expires_at": LATER, **fields})["id"])


def contents(api: Api, query: str = "") -> list[Any]:
    return [row["content"] for row in api.results(f"observations{query}")]


def events(team: Team, type: str = "observation.expire") -> list[Event]:
    return events_of(team.id, type)


def sweep(team: Team, limit: int = 500) -> int:
    return retention.expire(system_viewer(team.id), limit=limit)


def test_expired_ones_are_removed_and_nothing_else(team: Team, api: Api, expire: Any, stored: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    gone = [log(api, "of a task", task="t"), log(api, "of none")]
    kept = [log(api, "later"), str(api.make("observations", {"content": "never"})["id"])]
    expire(*gone)
    assert contents(api) == ["never", "later"]  # out of sight before it is removed
    assert sweep(team) == 2
    assert (stored(*gone), stored(*kept)) == (0, 2)
    assert contents(api) == ["never", "later"]
    [event] = events(team)
    assert (event.data, event.row_type, event.actor.name) == ({"count": 2}, "observation", "memoryhub")
    assert sweep(team) == 0
    assert len(events(team)) == 1


def test_the_background_removes_it(api: Api, worker: object, expire: Any, stored: Any) -> None:
    row = log(api, "passing")
    expire(row)
    from memoryhub.config.celery import app

    app.send_task("memoryhub.memory.tasks.expire_observations")  # beat's turn, which comes once a minute
    wait_until(lambda: not stored(row))


def test_batches_are_small_and_each_leaves_an_event_a_label(
    monkeypatch: pytest.MonkeyPatch, expire: Any, stored: Any
) -> None:
    """Two teams, two labels, private ones: nobody hears of what they may not see, and no team waits for another."""
    monkeypatch.setattr(sweeps, "OBSERVATIONS", 3)
    teams = [make_team(), make_team()]
    everything = []
    for team in teams:
        high = make_api(team, Sensitivity.CONFIDENTIAL)
        rows = [
            log(high, f"n{number}", sensitivity=level) for number in range(2) for level in ("internal", "confidential")
        ]
        rows.append(log(high, "mine", private=True))
        expire(*rows)
        everything += rows
    sweeps.expire_observations()
    assert stored(*everything) == 0
    for team in teams:
        told = events(team)
        assert sum(event.data["count"] for event in told) == 5
        assert len({event.label_id for event in told}) == 2
        assert [event.data for event in told if event.audience_id] == [{"count": 1}]


def test_the_package_of_an_open_escalation_stays_whole(
    team: Team, api: Api, person: Person, expire: Any, stored: Any
) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    row = log(api, "what it is about", task="t")
    case = api.make("escalations", {"task": "t", **ASKED})["id"]
    expire(row)

    def package() -> list[Any]:
        return [
            found["content"] for found in api.get(f"escalations/{case}/package").data["full_context"]["observations"]
        ]

    for step in (
        lambda: None,
        lambda: claims.claim(person.viewer, escalation_id=UUID(case)),
        lambda: answers.decide(
            person.viewer, escalation_id=UUID(case), verdict="respond", message="x", hand_back=False
        ),
    ):
        step()
        assert sweep(team) == 0
        assert (stored(row), package()) == (1, ["what it is about"])
    assert contents(api) == []  # for everybody else its time is over
    answers.hand_back(person.viewer, escalation_id=UUID(case))
    assert package() == []
    assert (sweep(team), stored(row)) == (1, 0)


def test_what_is_escalated_meanwhile_is_not_removed(
    team: Team, api: Api, expire: Any, stored: Any, owner_sql: Any
) -> None:
    """An escalation that has the task's lock, and has not committed: the sweep leaves the task alone."""
    task = api.make("tasks", {"key": "t", "title": "T"})["id"]
    row = log(api, "seen", task="t")
    expire(row)
    with owner_sql.transaction():
        owner_sql.execute("update task set status = 'escalated' where id = %s", [task])
        assert sweep(team) == 0
    assert (sweep(team), stored(row)) == (0, 1)


def test_a_client_ref_is_free_again_however_the_first_one_went(team: Team, api: Api, expire: Any) -> None:
    for swept in (False, True):
        row = log(api, "first", client_ref="r")
        expire(row)
        if swept:
            assert sweep(team) >= 1
        again = api.make("observations", {"content": "second", "client_ref": "r", "expires_at": LATER})
        assert (again["duplicate"], again["content"]) == (False, "second")
        expire(again["id"])


# Pins


def test_what_is_pinned_does_not_expire(team: Team, api: Api, expire: Any, stored: Any) -> None:
    row = log(api, "worth keeping")
    pinned = api.make(f"observations/{row}/pin")
    assert (pinned["id"], pinned["pinned"]) == (row, True)
    expire(row)
    assert (contents(api), sweep(team), stored(row)) == (["worth keeping"], 0, 1)
    gone = api.send("POST", f"observations/{row}/unpin")
    assert (gone.status, gone.data) == (204, None)  # its time had passed meanwhile
    assert contents(api) == []
    assert api.post(f"observations/{row}/pin").refusal == (404, "not_found")
    assert (sweep(team), stored(row)) == (1, 0)


def test_pin_and_unpin_are_events_and_change_nothing_twice(team: Team, api: Api) -> None:
    row = api.make("observations", {"content": "x"})["id"]
    other = make_api(team)
    for verb, pinned in (("pin", True), ("pin", True), ("unpin", False), ("unpin", False)):
        shown = other.make(f"observations/{row}/{verb}")
        assert (shown["pinned"], shown["author"]) == (pinned, api.name)
    for verb in ("pin", "unpin"):
        [event] = events(team, f"observation.{verb}")
        assert (str(event.row_id), event.actor.name) == (row, other.name)


def test_only_what_one_may_see_is_pinned(team: Team, api: Api) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    hidden = high.make("observations", {"content": "x", "sensitivity": "confidential"})["id"]
    mine = high.make("observations", {"content": "my thought", "private": True})["id"]
    absent = "01a216ae-0e48-74b5-9688-92689eecb7ce"
    for row in (hidden, mine, absent):
        assert api.post(f"observations/{row}/pin").refusal == (404, "not_found")
    assert high.make(f"observations/{mine}/pin")["pinned"] is True
    assert [str(event.audience_id) for event in events(team, "observation.pin")] == [str(high.agent.membership.id)]
    assert make_api(team, scopes=["memory:read"]).post(f"observations/{mine}/pin").status == 403


# The command


def command(*words: str) -> tuple[str, str]:
    return run("expire_observations", *words)


def test_the_command_tells_what_would_go_and_then_removes_it(team: Team, api: Api, expire: Any, stored: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    kept, gone = log(api, "asked about", task="t"), log(api, "passing")
    api.make("escalations", {"task": "t", **ASKED})
    expire(kept, gone)
    told, _ = command("--dry-run", "--team", team.slug)
    assert told == f"{team.slug}: 1 would be removed, 1 kept for open escalations.\n"
    assert stored(kept, gone) == 2
    assert events(team) == []
    told, _ = command("--team", team.slug)
    assert told == f"{team.slug}: 1 removed, 1 kept for open escalations.\n"
    assert (stored(kept), stored(gone)) == (1, 0)
    assert f"{team.slug}: 0 removed, 1 kept" in command()[0]  # all teams
