"""The feed's floor: raised by age, told by every door that resumes, and never a gap in the ledger itself."""

import subprocess
import sys
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError

from memoryhub.core import tasks
from memoryhub.core.actions import feed, teams
from memoryhub.core.errors import Forbidden, Gone
from memoryhub.core.models import Event, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.live.reader import check_cursor, read_events
from memoryhub.memory.actions import observations
from memoryhub.memory.actions.observations import NewObservation
from tests.support import commands
from tests.support.factories import installation, make_agent, make_person, make_team
from tests.support.servers import ROOT

Owner = psycopg.Connection[Any]


def make_old(owner: Owner, team: Team, days: int, up_to: int) -> None:
    """The team's first events are so many days old."""
    owner.execute(
        "update event e set at = statement_timestamp() - make_interval(days => %s) from event_seq s"
        " where s.event_id = e.id and s.team_id = %s and s.seq <= %s",
        [days, team.id, up_to],
    )


def told(viewer: Viewer, after: int) -> tuple[int, int] | None:
    """The floor and head that a cursor is told; None for a good one."""
    try:
        check_cursor(viewer, after)
    except Gone as gone:
        assert gone.code == "resync"
        return gone.extra["floor"], gone.extra["head"]
    return None


@pytest.fixture
def team() -> Team:
    return make_team("floor")


@pytest.fixture
def agent(team: Team) -> Viewer:
    made = make_agent(team).viewer
    for number in range(20):
        observations.log(made, item=NewObservation(content=f"n{number}"))
    return made


def test_pruning_raises_the_floor_to_what_is_older_than_the_teams_days(
    owner_sql: Owner, team: Team, agent: Viewer
) -> None:
    system = system_viewer(team.id)
    assert feed.prune(system) == 0
    make_old(owner_sql, team, 29, 20)
    make_old(owner_sql, team, 31, 10)
    before = check_cursor(agent, 0).head
    assert feed.find_floor(system) == feed.prune(system) == 10
    assert feed.prune(system) == 10, "again it changes nothing"
    head = before + 1
    assert check_cursor(agent, 10).head == head, "and was one event"
    assert [told(agent, after) for after in (0, 9, head + 1)] == [(10, head)] * 3
    assert told(agent, 10) is told(agent, head) is None
    events, reached = read_events(agent, 10, head)
    assert ([event.seq for event in events], reached) == (list(range(11, head + 1)), head)
    # The audit keeps what the feed no longer resumes over.
    with viewer_transaction(system, read_only=True):
        assert Event.objects.filter(team=team).count() == head
    # Fewer days raise it, more do not lower it.
    for days, floor in ((25, 20), (300, 20)):
        rules: dict[str, Any] = {"tell_withheld": True, "acknowledge_hours": 24, "feed_days": days}
        teams.change(installation(), team=Team.objects.get(id=team.id), name="n", **rules)
        assert feed.prune(system) == floor


def test_only_the_system_prunes(team: Team) -> None:
    with pytest.raises(Forbidden):
        feed.prune(make_person(team, "admin").viewer)


def test_the_command_and_the_scheduler_prune_and_a_dry_run_does_not(
    owner_sql: Owner, team: Team, agent: Viewer
) -> None:
    make_old(owner_sql, team, 100, 7)

    def run(*words: str) -> str:
        return commands.run("prune_feed", *words)[0]

    assert run("--team", team.slug, "--dry-run") == f"{team.slug}: the floor would be 7, 7 events higher.\n"
    assert told(agent, 0) is None
    assert run("--team", team.slug) == f"{team.slug}: the floor is 7, 7 events higher.\n"
    assert run("--team", team.slug) == f"{team.slug}: the floor stays at 7.\n"
    assert told(agent, 6) is not None
    make_old(owner_sql, team, 100, 9)
    tasks.prune_feeds()
    assert Team.objects.get(id=team.id).feed_floor == 9
    with pytest.raises(CommandError, match="no team"):
        run("--team", "nowhere")
    done = subprocess.run([sys.executable, "manage.py", "prune_feed", "--dry-run"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0
    assert f"{team.slug}: the floor stays at 9.".encode() in done.stdout
