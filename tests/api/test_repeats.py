"""A request that is sent again, perhaps much later: what it did stays done, once, and it is told the truth."""

from typing import Any
from uuid import UUID

import pytest

from escalations.actions import answers, claims
from memoryhub.core.models import Team
from tests.support.api import Api, make_api
from tests.support.factories import Person

ASKED = {"reason_code": "policy_exception", "reason": "Late by a day.", "question": "Refund anyway?"}


@pytest.fixture(autouse=True)
def tasks(api: Api) -> None:
    for key in ("t", "u"):
        api.make("tasks", {"key": key, "title": key})


def expire(observation: str, owner_sql: Any) -> None:
    owner_sql.execute("update observation set expires_at = now() - interval '1 second' where id = %s", [observation])


def notes(escalation: str, owner_sql: Any) -> int:
    (count,) = owner_sql.execute(
        "select count(*) from escalation_note where escalation_id = %s", [escalation]
    ).fetchone()
    return int(count)


def test_a_request_that_became_a_note_is_added_once(api: Api, owner_sql: Any) -> None:
    first = api.make("escalations", {"task": "t", **ASKED})
    for _ in range(3):
        again = api.post("escalations", {"task": "t", **ASKED, "client_ref": "r"})
        assert (again.status, again.data["id"]) == (200, first["id"])
    assert notes(first["id"], owner_sql) == 1
    assert api.post("escalations", {"task": "t", **ASKED, "client_ref": "s"}).status == 200
    assert notes(first["id"], owner_sql) == 2


def test_it_makes_no_second_escalation_when_the_first_was_answered(api: Api, person: Person) -> None:
    first = api.make("escalations", {"task": "t", **ASKED})
    api.post("escalations", {"task": "t", **ASKED, "client_ref": "r"})
    claims.claim(person.viewer, escalation_id=UUID(first["id"]))
    answers.decide(person.viewer, escalation_id=UUID(first["id"]), verdict="respond", message="Yes.")
    again = api.post("escalations", {"task": "t", **ASKED, "client_ref": "r"})
    assert (again.status, again.data["id"]) == (200, first["id"])
    assert len(api.results("escalations?task=t")) == 1


def test_a_client_ref_of_another_task_is_a_conflict(api: Api) -> None:
    api.make("escalations", {"task": "t", **ASKED, "client_ref": "r"})
    assert api.post("escalations", {"task": "u", **ASKED, "client_ref": "r"}).refusal == (409, "already_exists")
    assert api.get("tasks/u").data["status"] == "open"
    assert api.post("escalations", {"task": "u", **ASKED, "client_ref": "s"}).status == 201


def test_an_assignee_who_cannot_take_it_is_refused_the_second_time_too(api: Api) -> None:
    api.make("escalations", {"task": "t", **ASKED})
    refused = api.post("escalations", {"task": "t", **ASKED, "assigned_to": "nobody"})
    assert refused.refusal == (422, "not_allowed")


def test_a_decision_that_was_recorded_stays_so_when_a_person_has_the_task(api: Api, person: Person) -> None:
    body = {"task": "t", "decision": "refund", "reasoning": "It is due.", "client_ref": "r"}
    made = api.make("decisions", body)
    asked = api.make("escalations", {"task": "t", **ASKED})
    claims.claim(person.viewer, escalation_id=UUID(asked["id"]))
    again = api.post("decisions", body)
    assert (again.status, again.data) == (200, {**made, "duplicate": True})
    assert api.post("decisions", {**body, "client_ref": "s"}).refusal == (409, "human_owned")


def test_an_observation_that_was_logged_under_a_lease_stays_so_when_it_is_over(api: Api) -> None:
    token = api.make("tasks/t/claim", {})["token"]
    body = {"task": "t", "content": "x", "client_ref": "r", "token": token}
    made = api.make("observations", body)
    api.make("tasks/t/release", {"token": token})
    again = api.post("observations", body)
    assert (again.status, again.data["id"]) == (200, made["id"])
    assert api.post("observations", {**body, "client_ref": "s"}).refusal == (409, "lease_lost")


@pytest.mark.parametrize("unique", [{"client_ref": "r"}, {"dedupe": True}])
def test_what_has_expired_may_be_logged_again(api: Api, owner_sql: Any, unique: dict[str, Any]) -> None:
    body = {"task": "t", "content": {"state": "delivered"}, **unique}
    first = api.make("observations", {**body, "expires_at": "2100-01-01T00:00:00Z"})
    assert api.post("observations", body).data["id"] == first["id"]
    expire(first["id"], owner_sql)
    anew = api.post("observations", body)
    assert anew.status == 201
    assert anew.data["id"] != first["id"]
    assert api.post("observations", body).data["id"] == anew.data["id"]
    expire(anew.data["id"], owner_sql)
    batch = api.post("observations/batch", {"items": [body, {"content": "other", "task": "t"}]})
    assert [item["status"] for item in batch.data["results"]] == ["created", "created"]
    assert {row["id"] for row in api.results("observations?task=t")} == {item["id"] for item in batch.data["results"]}


def test_only_who_asked_takes_the_answer(team: Team, api: Api, person: Person) -> None:
    asked = api.make("escalations", {"task": "t", **ASKED})
    claims.claim(person.viewer, escalation_id=UUID(asked["id"]))
    answers.decide(person.viewer, escalation_id=UUID(asked["id"]), verdict="respond", message="Yes.")
    other = make_api(team)
    assert other.post(f"escalations/{asked['id']}/acknowledge").refusal == (409, "not_owner")
    assert api.get(f"escalations/{asked['id']}").data["state"] == "handed_back"
    assert api.make(f"escalations/{asked['id']}/acknowledge")["state"] == "closed"


# What a refusal says


def test_a_conflict_carries_the_tasks_state(api: Api) -> None:
    token = api.make("tasks/t/claim", {})["token"]
    api.make("tasks/t/complete", {"token": token})
    for path, body in (("tasks/t/claim", {}), ("escalations", {"task": "t", **ASKED})):
        refused = api.post(path, body)
        assert refused.refusal == (409, "wrong_state")
        assert (refused.data["state"], refused.data["status"]) == ("done", 409)


def test_a_lease_that_has_run_out_is_told_from_somebody_elses(team: Team, api: Api, owner_sql: Any) -> None:
    token = api.make("tasks/t/claim", {})["token"]
    assert "expired" not in make_api(team).post("tasks/t/renew", {"token": token}).data["detail"]
    task = api.get("tasks/t").data["id"]
    owner_sql.execute("update task set lease_expires_at = now() - interval '1 second' where id = %s", [task])
    assert "expired" in api.post("tasks/t/renew", {"token": token}).data["detail"]


def test_what_is_not_found_is_named(api: Api) -> None:
    for path, body, pointer in (
        ("observations", {"content": "x", "task": "none"}, "/task"),
        ("decisions", {"task": "none", "decision": "x", "reasoning": "y"}, "/task"),
        ("escalations", {"task": "none", **ASKED}, "/task"),
        (
            "decisions",
            {"task": "t", "decision": "x", "reasoning": "y", "based_on": ["01a216ae-0e48-74b5-9688-92689eecb7ce"]},
            "/based_on",
        ),
    ):
        refused = api.post(path, body)
        assert refused.refusal == (404, "not_found")
        assert [error["pointer"] for error in refused.data["errors"]] == [pointer]


def test_several_faults_are_told_with_their_places(api: Api) -> None:
    detail = api.post("tasks", {"titel": "x"}).data["detail"]
    assert "/titel: " in detail
    assert "/key: " in detail


def test_a_token_without_its_task_is_refused(api: Api) -> None:
    assert api.post("observations", {"content": "x", "token": 1}).refusal == (400, "invalid")
