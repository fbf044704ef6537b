"""What time, and a change of rights, do to an escalation: the outbox's jobs, done at once for the test."""

from typing import Any
from uuid import UUID

import pytest

from escalations.actions import answers, claims
from memoryhub.core.actions import memberships, people
from memoryhub.core.models import Actor, Membership, Outbox, Role, Team
from memoryhub.core.outbox import jobs
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api
from tests.support.escalations import shown
from tests.support.factories import Person, installation, join, make_person, make_team


@pytest.fixture
def row(api: Api, person: Person) -> UUID:
    """An escalation that the person has claimed."""
    api.make("tasks", {"key": "t", "title": "T"})
    asked = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    made = UUID(api.make("escalations", asked)["id"])
    claims.claim(person.viewer, escalation_id=made)
    return made


def timer(row: UUID, handler: str, generation: int, owner_sql: Any) -> Outbox:
    """The escalation's job, due now."""
    job = Outbox.objects.get(row_id=row, handler=f"escalation.{handler}", generation=generation)
    owner_sql.execute("update outbox set due_at = now() - interval '1 second' where id = %s", [job.id])
    return job


def expire(row: UUID, owner_sql: Any) -> None:
    owner_sql.execute("update escalation set claim_expires_at = now() - interval '1 second' where id = %s", [row])


def state(api: Api, row: UUID) -> str:
    return str(shown(api, row)["state"])


def test_a_claim_runs_out(api: Api, person: Person, row: UUID, owner_sql: Any) -> None:
    job = timer(row, "run_out", 1, owner_sql)
    # Woken early, or after it was prolonged: due again at its end.
    assert jobs.work_one(job.id)
    job.refresh_from_db()
    assert (state(api, row), job.done_at) == ("claimed", None)
    assert job.due_at.isoformat().replace("+00:00", "Z") == shown(api, row)["claim_expires_at"]
    expire(row, owner_sql)
    job = timer(row, "run_out", 1, owner_sql)
    assert jobs.work_one(job.id)
    job.refresh_from_db()
    assert (state(api, row), job.failure) == ("queued", "")
    assert job.done_at is not None
    after = shown(api, row)
    assert (after["owner"], after["claim_expires_at"]) == (None, None)
    assert api.get("tasks/t").data["human_owned"] is False
    assert jobs.work_one(job.id) is False  # done once


def test_a_timer_of_an_older_claim_does_nothing(
    team: Team, api: Api, person: Person, row: UUID, owner_sql: Any
) -> None:
    claims.release(person.viewer, escalation_id=row)
    claims.claim(make_person(team).viewer, escalation_id=row)
    version = shown(api, row)["version"]
    assert jobs.work_one(timer(row, "run_out", 1, owner_sql).id)
    assert (state(api, row), shown(api, row)["version"]) == ("claimed", version)
    expire(row, owner_sql)
    assert jobs.work_one(timer(row, "run_out", 2, owner_sql).id)
    assert state(api, row) == "queued"


def test_keeping_a_claim_prolongs_it_and_the_tasks_lease(api: Api, person: Person, row: UUID, owner_sql: Any) -> None:
    before = shown(api, row)["claim_expires_at"]
    claims.keep(person.viewer, escalation_id=row)
    after = shown(api, row)["claim_expires_at"]
    assert after > before
    assert api.get("tasks/t").data["lease"]["expires_at"] == after
    job = timer(row, "run_out", 1, owner_sql)
    assert jobs.work_one(job.id)
    job.refresh_from_db()
    assert job.due_at.isoformat().replace("+00:00", "Z") == after


def test_an_answer_that_nobody_takes_is_closed_and_marked(api: Api, person: Person, row: UUID, owner_sql: Any) -> None:
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Yes.")
    assert jobs.work_one(timer(row, "close_unacknowledged", 1, owner_sql).id)
    after = shown(api, row)
    assert (after["state"], after["unacknowledged"]) == ("closed", True)
    assert api.post(f"escalations/{row}/acknowledge").refusal == (409, "wrong_state")


def test_an_acknowledged_answer_is_not_marked(api: Api, person: Person, row: UUID, owner_sql: Any) -> None:
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Yes.")
    api.make(f"escalations/{row}/acknowledge")
    assert jobs.work_one(timer(row, "close_unacknowledged", 1, owner_sql).id)
    assert shown(api, row)["unacknowledged"] is False


def test_what_a_member_may_no_longer_work_on_goes_back(
    team: Team, api: Api, person: Person, row: UUID, owner_sql: Any
) -> None:
    member = Membership.objects.select_related("actor", "team").get(id=person.membership.id)
    memberships.change(
        system_viewer(team.id), member=member, role=Role.READER, clearance=1, compartments=[], is_active=True
    )
    job = Outbox.objects.filter(row_id=person.membership.id, handler="claims.release_of_member").latest("id")
    assert jobs.work_one(job.id)
    assert state(api, row) == "queued"


def test_what_somebody_had_whose_account_is_deactivated_goes_back_in_every_team(
    api: Api, person: Person, row: UUID, owner_sql: Any
) -> None:
    other = make_team()
    join(other, person.actor)
    actor = Actor.objects.get(id=person.actor.id)
    people.change(installation(), person=actor, email="", is_active=False, is_staff=False, is_superuser=False)
    job = Outbox.objects.filter(row_id=actor.id, handler="claims.release_of_person").latest("id")
    assert jobs.work_one(job.id)
    of_teams = Outbox.objects.filter(
        team_id__in=[person.membership.team_id, other.id], handler="claims.release_of_member"
    )
    assert len(of_teams) == 2
    for job in of_teams:
        assert jobs.work_one(job.id)
    assert state(api, row) == "queued"
    assert api.get("tasks/t").data["human_owned"] is False


def test_what_was_decided_and_left_lying_goes_to_the_agent_when_the_claim_runs_out(
    api: Api, person: Person, row: UUID, owner_sql: Any
):
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Do it.", hand_back=False)
    assert shown(api, row)["state"] == "resolved"
    job = timer(row, "run_out", 1, owner_sql)
    expire(row, owner_sql)
    assert jobs.work_one(job.id)
    assert shown(api, row)["state"] == "handed_back"
    assert api.get("tasks/t").data["human_owned"] is False
