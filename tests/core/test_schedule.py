"""What beat sends, the worker knows and does."""

from typing import Any

import psycopg
from django.conf import settings

from agents.models import Scope
from escalations.reports import roll_up
from tests.support.api import make_api
from tests.support.factories import make_team
from tests.support.ledger import head
from tests.support.servers import Process
from tests.support.timing import wait_until


def test_the_worker_knows_each_task_that_beat_sends() -> None:
    from memoryhub.config.celery import app

    app.loader.import_default_modules()
    sent = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert sent <= set(app.tasks)
    assert "escalations.tasks.unknown" not in app.tasks  # a control: names are looked up, not made


def test_insights_are_rolled_up(worker: Process, owner_sql: psycopg.Connection[Any]) -> None:
    for other in roll_up.behind():  # what other tests have left for the worker to do
        roll_up.catch_up(other)
    team = make_team()
    api = make_api(team, scopes=Scope.values)
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("tasks/t/complete", {"token": api.make("tasks/t/claim")["token"]})
    seq = "select seq from insight_state where team_id = %s"
    wait_until(lambda: owner_sql.execute(seq, [team.id]).fetchall() == [(head(team.id),)])
    tallies = "select measure, number from insight_tally where team_id = %s order by 1"
    found = owner_sql.execute(tallies, [team.id]).fetchall()
    assert found == [("completed", 1), ("worked_on", 1), ("working", 1)]
    assert api.get("insights").data["results"][0]["completed"] == 1
