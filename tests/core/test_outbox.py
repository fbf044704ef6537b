"""Work for later: done once though delivered many times, never dropped, whoever dies.

The session's Celery worker may sweep the same table meanwhile, as it does in the product: what is tested is what holds
at the end, whoever did the job.
"""

import io
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from django.db import connection

from escalations.actions import claims
from escalations.models import Escalation
from memoryhub.config import reactions
from memoryhub.core.ids import new_id
from memoryhub.core.models import Event, Membership, Outbox, Sensitivity, Team
from memoryhub.core.outbox import jobs
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from tests.support import handlers
from tests.support.factories import make_agent, make_person, make_team
from tests.support.jobs import database_time, work
from tests.support.labelled_world import ask, make_task


@pytest.fixture
def viewer() -> Viewer:
    return system_viewer(make_team().id)


def schedule(viewer: Viewer, handler: Callable[..., object], *, in_seconds: float = 0, generation: int = 0) -> Outbox:
    """A job about a row of its own. Without a delay it is due since a moment, and Celery is not woken for it."""
    row, due = new_id(), database_time() + timedelta(seconds=in_seconds)
    with viewer_transaction(viewer):
        name = f"trial.{handler.__name__}"
        jobs.schedule(viewer, name, row_id=row, due_at=due, generation=generation)
    return Outbox.objects.get(row_id=row)


def marks(job: Outbox) -> list[dict[str, Any]]:
    """What the handler has left in the ledger."""
    with viewer_transaction(system_viewer(job.team_id), read_only=True):
        return list(Event.objects.filter(type=handlers.MARK, row_id=job.row_id).values_list("data", flat=True))


def set_due(job: Outbox, **values: Any) -> None:
    """As if time had passed."""
    Outbox.objects.filter(id=job.id).update(due_at=database_time() - timedelta(seconds=1), **values)


def on_a_thread(job_id: UUID | None) -> bool:
    try:
        return jobs.work_one(job_id)
    finally:
        connection.close()


def test_done_once_though_delivered_many_times_at_once(viewer: Viewer) -> None:
    made = [schedule(viewer, handlers.leave_a_mark) for _ in range(10)]
    deliveries = [job.id for job in made] * 6
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(on_a_thread, deliveries))
    assert [len(marks(job)) for job in made] == [1] * 10
    for job in made:
        job.refresh_from_db()
        assert job.done_at is not None
        assert jobs.work_one(job.id) is False


def test_done_once_though_two_workers_hold_it(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ends while its worker is at work: both do the job, one of them in vain."""
    monkeypatch.setattr(jobs, "LEASE_SECONDS", 0)
    job = schedule(viewer, handlers.leave_a_mark)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(on_a_thread, [job.id] * 30))
    assert len(marks(job)) == 1


def test_the_lock_is_what_makes_it_once(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the two before: without the row's lock in the job's own transaction, it is done again."""
    monkeypatch.setattr(jobs, "LEASE_SECONDS", 0)
    monkeypatch.setattr(jobs, "_lock", lambda job: True)
    for _ in range(20):
        job = schedule(viewer, handlers.leave_a_mark)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(on_a_thread, [job.id] * 12))
        if len(marks(job)) > 1:
            return
    pytest.fail("the control did no job twice")


def test_a_failure_is_tried_again_later_and_never_dropped(viewer: Viewer, caplog: pytest.LogCaptureFixture) -> None:
    job = schedule(viewer, handlers.fail)
    for attempts in (0, 3, 200):
        set_due(job, attempts=attempts)
        work(job)
        job.refresh_from_db()
        assert job.done_at is None
        assert job.attempts > attempts
        assert job.failure == "ZeroDivisionError"  # the class alone, never its text
        wait = (job.due_at - database_time()).total_seconds()
        assert min(600, 2 ** min(attempts + 1, 10)) - 2 < wait <= 600
    assert marks(job) == []  # what it did before it failed is gone
    assert "the word of a row" not in caplog.text


def test_a_job_that_failed_is_done_in_the_end(viewer: Viewer) -> None:
    job = schedule(viewer, handlers.fail_twice)
    for _ in range(5):
        set_due(job)
        work(job)
    job.refresh_from_db()
    assert job.done_at is not None
    assert job.failure == ""
    assert len(marks(job)) == 1


@pytest.mark.parametrize("name", ["trial.gone", "tests.support.handlers.leave_a_mark", "os.abort", "", "antigravity.x"])
def test_a_row_that_names_no_handler_of_ours_is_failed_and_imports_nothing(viewer: Viewer, name: str) -> None:
    job = schedule(viewer, handlers.leave_a_mark, in_seconds=3600)
    set_due(job, handler=name, claimed_until=database_time() + timedelta(seconds=60))
    Outbox.objects.filter(id=job.id).update(claimed_until=None)
    work(job)
    job.refresh_from_db()
    assert (job.done_at, job.failure) == (None, "LookupError")
    assert job.due_at > database_time()  # and is tried again later: a newer version may know it
    assert marks(job) == []
    assert "antigravity" not in sys.modules
    Outbox.objects.filter(id=job.id).delete()


def test_a_handler_that_there_is_not_cannot_be_scheduled(viewer: Viewer) -> None:
    with pytest.raises(LookupError), viewer_transaction(viewer):
        jobs.schedule(viewer, "tests.support.handlers.leave_a_mark", row_id=new_id())


def test_rows_of_the_version_before_are_still_handled() -> None:
    """Their handlers were dotted paths: each has a name of today, and a claim's timer by its old one ends the claim."""
    assert set(reactions.OLD_HANDLERS.values()) <= set(reactions.HANDLERS)
    team = make_team()
    agent, person = make_agent(team).viewer, make_person(team).viewer
    asked = ask(agent, make_task(agent))
    claims.claim(person, escalation_id=asked.id)
    with viewer_transaction(system_viewer(team.id)):
        Escalation.objects.filter(id=asked.id).update(claim_expires_at=database_time() - timedelta(seconds=1))
    (job,) = Outbox.objects.filter(row_id=asked.id)
    set_due(job, handler="escalations.timers.run_out")
    work(job)
    with viewer_transaction(person, read_only=True):
        assert Escalation.objects.get(id=asked.id).state == "queued"


def test_not_before_it_is_due(viewer: Viewer) -> None:
    job = schedule(viewer, handlers.leave_a_mark, in_seconds=3600)
    assert jobs.work_one(job.id) is False
    assert marks(job) == []
    set_due(job)
    work(job)
    assert len(marks(job)) == 1


def test_a_handler_that_names_a_time_is_called_again_then(viewer: Viewer) -> None:
    job = schedule(viewer, handlers.prolong)
    work(job)
    job.refresh_from_db()
    if job.done_at is None:
        assert timedelta(minutes=59) < job.due_at - database_time() <= timedelta(minutes=60)
        assert jobs.work_one(job.id) is False
    set_due(job)
    work(job)
    job.refresh_from_db()
    assert job.done_at is not None
    assert len(marks(job)) == 2


def test_what_a_dead_worker_held_is_taken_over_after_its_lease(viewer: Viewer) -> None:
    job = schedule(viewer, handlers.leave_a_mark, in_seconds=3600)
    set_due(job, claimed_until=database_time() + timedelta(seconds=60), attempts=1)
    assert jobs.work_one(job.id) is False
    Outbox.objects.filter(id=job.id).update(claimed_until=database_time() - timedelta(seconds=1))
    work(job)
    assert len(marks(job)) == 1


def test_a_late_job_of_an_older_generation_does_nothing(viewer: Viewer) -> None:
    old = schedule(viewer, handlers.only_the_newest, in_seconds=3600, generation=1)
    new = schedule(viewer, handlers.only_the_newest, in_seconds=3600, generation=2)
    Outbox.objects.filter(id=new.id).update(row_id=old.row_id)
    for job in (old, new):
        set_due(job)
        work(job)
    assert [mark["generation"] for mark in marks(old)] == [2]


def test_a_claims_timer_of_an_older_claim_does_nothing() -> None:
    """The product's own case: released and claimed again, the first claim's timer must not end the second."""
    team = make_team()
    agent, person = make_agent(team).viewer, make_person(team).viewer
    asked = ask(agent, make_task(agent))
    claims.claim(person, escalation_id=asked.id)
    claims.release(person, escalation_id=asked.id)
    claims.claim(person, escalation_id=asked.id)
    first, second = Outbox.objects.filter(row_id=asked.id).order_by("generation")

    def state_after(job: Outbox) -> str:
        set_due(job)
        work(job)
        with viewer_transaction(person, read_only=True):
            return Escalation.objects.get(id=asked.id).state

    assert state_after(first) == "claimed"
    with viewer_transaction(system_viewer(team.id)):
        Escalation.objects.filter(id=asked.id).update(claim_expires_at=database_time() - timedelta(seconds=1))
    assert state_after(second) == "queued"


def test_a_job_sees_its_own_team_only(viewer: Viewer, owner_sql: psycopg.Connection[Any]) -> None:
    job = schedule(viewer, handlers.leave_a_mark)
    work(job)
    teams = owner_sql.execute("select distinct team_id from event where row_id = %s", [job.row_id]).fetchall()
    assert teams == [(viewer.team,)]
    system = Membership.objects.get(team=Team.objects.get(id=viewer.team), role="system")
    assert system.clearance == Sensitivity.CONFIDENTIAL


def test_the_requests_id_is_bound_while_its_job_is_done() -> None:
    person = make_person(make_team()).viewer
    asking = type(person)(**{name: getattr(person, name) for name in person.__slots__} | {"request_id": "r-123"})
    job = schedule(asking, handlers.leave_a_mark)
    work(job)
    (mark,) = marks(job)
    assert (mark["request_id"], mark["job"]) == ("r-123", str(job.id))
    assert "job" not in structlog.contextvars.get_contextvars()


def test_a_failure_is_logged_with_the_requests_id_and_without_its_text(viewer: Viewer) -> None:
    job = schedule(viewer, handlers.fail, in_seconds=3600)
    Outbox.objects.filter(id=job.id).update(request_id="r-456")
    (handler,) = (found for found in logging.getLogger().handlers if type(found) is logging.StreamHandler)
    words = io.StringIO()
    before = handler.setStream(words)
    try:
        set_due(job)
        work(job)
    finally:
        handler.setStream(before or handler.stream)
    said = [json.loads(line) for line in words.getvalue().splitlines()]
    (line,) = (found for found in said if found["event"] == "outbox_job_failed" and found["job"] == str(job.id))
    assert (line["request_id"], line["error"]) == ("r-456", ["builtins.ZeroDivisionError"])
    assert "the word of a row" not in words.getvalue()
