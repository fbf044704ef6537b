"""Rights that are taken away, and claims whose time is over, leave nothing stuck: no worker is there in these tests.

Who may no longer answer has nothing in the queue's way, and what they decided and did not send is never sent. Read by
the agent's API and the desk's pages; time is the database's.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from queue import Queue
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection

from escalations.actions import answers, claims
from memoryhub.core.actions import memberships, people
from memoryhub.core.errors import Conflict, HubError, NotAllowed
from memoryhub.core.models import Actor, Membership, Outbox, Role, Sensitivity, Team
from memoryhub.core.outbox.jobs import work_one
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from tests.support.api import Api, at_once, make_api
from tests.support.desk_world import JSON, browser_of, post
from tests.support.escalations import answer, escalate, refusal, shown
from tests.support.factories import Person, installation, make_person
from tests.support.jobs import work

pytestmark = pytest.mark.usefixtures("task")

UNSENT = "Give her the money back."


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])


@pytest.fixture
def person(team: Team) -> Person:
    return make_person(team, clearance=Sensitivity.CONFIDENTIAL, compartments=["finance"], name="sam")


@pytest.fixture
def lead(team: Team) -> Person:
    return make_person(team, Role.LEAD, Sensitivity.CONFIDENTIAL, ["finance"], name="lee")


def change(member: Membership, **changes: Any) -> None:
    rights = {"role": member.role, "clearance": member.clearance, "compartments": member.compartments}
    found = Membership.objects.select_related("actor", "team").get(id=member.id)
    memberships.change(system_viewer(member.team_id), member=found, **{**rights, "is_active": True, **changes})


def deactivate_account(who: Person) -> None:
    actor = Actor.objects.get(id=who.actor.id)
    people.change(installation(), person=actor, email="", is_active=False, is_staff=False, is_superuser=False)


TAKEN_AWAY: dict[str, Callable[[Person], None]] = {
    "membership deactivated": lambda who: change(who.membership, is_active=False),
    "account deactivated": deactivate_account,
    "demoted to reader": lambda who: change(who.membership, role=Role.READER),
    "clearance lowered": lambda who: change(who.membership, clearance=Sensitivity.INTERNAL),
    "compartment taken": lambda who: change(who.membership, compartments=[]),
}
taken_away = pytest.mark.parametrize("take", TAKEN_AWAY.values(), ids=TAKEN_AWAY)


@pytest.fixture
def secret(api: Api) -> UUID:
    """An escalation of the label confidential+finance."""
    api.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential", "compartments": ["finance"]})
    return escalate(api, "respond", "reject", task="s")


def decide(who: Person, row: UUID, message: str = UNSENT) -> None:
    claims.claim(who.viewer, escalation_id=row)
    answers.decide(who.viewer, escalation_id=row, verdict="respond", message=message, hand_back=False)


def jobs(row: UUID, owner_sql: Any) -> list[Outbox]:
    """The escalation's timers, due now."""
    found = list(Outbox.objects.filter(row_id=row, done_at=None))
    owner_sql.execute("update outbox set due_at = now() - interval '1 second' where row_id = %s", [row])
    return found


def expire(row: UUID, owner_sql: Any) -> None:
    owner_sql.execute("update escalation set claim_expires_at = now() - interval '1 second' where id = %s", [row])
    sql = "update task set lease_expires_at = now() - interval '1 second' where id = (select task_id from escalation"
    owner_sql.execute(f"{sql} where id = %s) and lease_expires_at is not null", [row])


# Decided, not handed back


@taken_away
def test_what_was_decided_and_not_sent_is_never_sent(
    api: Api, person: Person, lead: Person, secret: UUID, take: Callable[[Person], None], owner_sql: Any
) -> None:
    decide(person, secret)
    assert shown(api, secret)["state"] == "resolved"
    take(person)
    # At once, though nobody has done anything yet.
    queued = shown(api, secret)
    assert (queued["state"], queued["owner"], queued["claim_expires_at"]) == ("queued", None, None)
    assert [found["id"] for found in api.results("escalations?state=queued")] == [str(secret)]
    assert api.results("escalations?state=resolved") == []
    assert answer(api, secret) is None
    # Neither the timer, nor another's click, nor their own sends it.
    expire(secret, owner_sql)
    for job in jobs(secret, owner_sql):
        work(job)
    for who in (lead, person):
        with pytest.raises(HubError) as caught:
            answers.hand_back(who.viewer, escalation_id=secret)
        assert caught.value.status in (403, 404, 409)
    assert (shown(api, secret)["state"], answer(api, secret)) == ("queued", None)
    # The next person sees it as unsent, and gives another.
    browser = browser_of(lead)
    page = browser.get(f"/escalations/{secret}/").content.decode()
    assert UNSENT in page
    assert "unsent" in page
    assert "sam" in page
    assert post(browser, f"/escalations/{secret}/claim", **JSON).status_code == 200
    body = b'{"verdict": "reject", "message": "She has it already."}'
    assert post(browser, f"/escalations/{secret}/decide", body).status_code == 200
    got = answer(api, secret)
    assert (got["decision"], got["message"], got["by"]) == ("reject", "She has it already.", "lee")


@taken_away
def test_a_claim_is_free_at_once(
    team: Team, api: Api, person: Person, lead: Person, secret: UUID, take: Callable[[Person], None]
) -> None:
    claims.claim(person.viewer, escalation_id=secret)
    assert api.post("tasks/s/claim").refusal == (409, "human_owned")
    take(person)
    assert (shown(api, secret)["state"], shown(api, secret)["owner"]) == ("queued", None)
    free = api.get("tasks/s").data
    assert (free["human_owned"], free["lease"]) == (False, None)
    page = browser_of(lead).get("/").content.decode()
    assert f'data-escalation="{secret}"' in page
    assert 'data-state="queued"' in page
    taken = claims.next_free(lead.viewer)
    assert taken is not None
    assert (taken.id, taken.owner_id, taken.state) == (secret, lead.membership.id, "claimed")
    assert api.post("tasks/s/claim").refusal == (409, "human_owned")


def test_who_still_has_the_right_keeps_what_they_have(api: Api, person: Person, secret: UUID) -> None:
    """The control: a change of rights that leaves the right takes nothing away."""
    decide(person, secret)
    change(person.membership, role=Role.LEAD)
    assert shown(api, secret)["state"] == "resolved"
    answers.hand_back(person.viewer, escalation_id=secret)
    assert answer(api, secret)["message"] == UNSENT


def test_the_reaction_writes_it_down(team: Team, api: Api, person: Person, secret: UUID, owner_sql: Any) -> None:
    decide(person, secret)
    change(person.membership, is_active=False)
    job = Outbox.objects.filter(row_id=person.membership.id, handler="claims.release_of_member").latest("id")
    assert work_one(job.id)
    stored = owner_sql.execute("select state, owner_id from escalation where id = %s", [secret]).fetchall()
    assert stored == [("queued", None)]
    told = owner_sql.execute("select data from event where row_id = %s and type = 'escalation.withdraw'", [secret])
    assert [(data["state"], data["owner"]) for (data,) in told] == [("queued", "sam")]


# At the same moment


def at_once_with(viewer: Viewer, work: Callable[[], Any], other: Callable[[], Any], owner_sql: Any) -> Any:
    """What the other is answered or refused, which begins, and must wait, while the work is not committed yet."""
    pid: Queue[int] = Queue()

    def begin() -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute("select pg_backend_pid()")
                pid.put(cursor.fetchone()[0])
            return other()
        except HubError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with viewer_transaction(viewer):
            work()
            begun = pool.submit(begin)
            asked = [pid.get(timeout=10)]
            while not owner_sql.execute("select cardinality(pg_blocking_pids(%s))", asked).fetchone()[0]:
                assert not begun.done(), "it did not wait"
                time.sleep(0.01)
        return begun.result(timeout=10)


def viewer_of_change(take: Callable[[Person], None], person: Person) -> Viewer:
    return installation() if take is deactivate_account else system_viewer(person.membership.team_id)


@taken_away
@pytest.mark.parametrize("sent_by", ["hand_back", "decide", "timer"])
def test_no_answer_leaves_just_after_its_owners_right_was_taken(
    api: Api, person: Person, secret: UUID, take: Callable[[Person], None], sent_by: str, owner_sql: Any
) -> None:
    viewer, due = person.viewer, []  # as it was at the door
    if sent_by == "decide":
        claims.claim(viewer, escalation_id=secret)
    else:
        decide(person, secret)
    if sent_by == "timer":
        expire(secret, owner_sql)
        due = jobs(secret, owner_sql)

    def send() -> Any:
        if sent_by == "decide":
            return answers.decide(viewer, escalation_id=secret, verdict="respond", message="x")
        return [work_one(job.id) for job in due] or answers.hand_back(viewer, escalation_id=secret)

    sent = at_once_with(viewer_of_change(take, person), lambda: take(person), send, owner_sql)
    assert sent == [True] if due else isinstance(sent, Conflict)
    assert (shown(api, secret)["state"], answer(api, secret)) == ("queued", None)


@taken_away
def test_a_right_is_taken_after_the_answer_that_is_on_its_way(
    api: Api, person: Person, secret: UUID, take: Callable[[Person], None], owner_sql: Any
) -> None:
    decide(person, secret)
    viewer = person.viewer
    taken = at_once_with(
        viewer, lambda: answers.hand_back(viewer, escalation_id=secret), lambda: take(person), owner_sql
    )
    assert taken is None
    assert (shown(api, secret)["state"], answer(api, secret)["message"]) == ("handed_back", UNSENT)


# Leads


def test_a_lead_hands_back_the_owners_answer(api: Api, person: Person, lead: Person, secret: UUID) -> None:
    decide(person, secret)
    browser = browser_of(lead)
    page = browser.get(f"/escalations/{secret}/").content.decode()
    for verb in ("hand-back", "release", "cancel"):
        assert f'/escalations/{secret}/{verb}"' in page, verb
    assert post(browser, f"/escalations/{secret}/hand-back", **JSON).status_code == 200
    got = answer(api, secret)
    assert (got["decision"], got["message"], got["by"]) == ("respond", UNSENT, "sam")


def test_a_lead_releases_what_was_decided_and_it_is_never_sent(
    api: Api, person: Person, lead: Person, secret: UUID
) -> None:
    decide(person, secret)
    claims.release(lead.viewer, escalation_id=secret)
    assert (shown(api, secret)["state"], answer(api, secret)) == ("queued", None)
    assert refusal(lambda: answers.hand_back(person.viewer, escalation_id=secret)) == (409, "wrong_state")
    decide(person, secret, "Another one.")
    answers.hand_back(person.viewer, escalation_id=secret)
    assert answer(api, secret)["message"] == "Another one."


def test_a_lead_cancels_what_was_decided_and_it_is_never_sent(
    api: Api, person: Person, lead: Person, secret: UUID
) -> None:
    decide(person, secret)
    answers.cancel(lead.viewer, escalation_id=secret, reason="Not needed.")
    got = answer(api, secret)
    assert (got["outcome"], got["decision"], got["message"], got["by"]) == ("cancelled", None, "Not needed.", "lee")


def test_others_do_not(team: Team, api: Api, person: Person, secret: UUID) -> None:
    decide(person, secret)
    other = make_person(team, clearance=Sensitivity.CONFIDENTIAL, compartments=["finance"])
    calls: list[Callable[[], Any]] = [
        lambda: answers.hand_back(other.viewer, escalation_id=secret),
        lambda: claims.release(other.viewer, escalation_id=secret),
        lambda: answers.cancel(other.viewer, escalation_id=secret, reason="x"),
    ]
    for call in calls:
        assert refusal(call) == (409, "not_owner")
    assert api.post(f"escalations/{secret}/cancel", {"reason": "x"}).refusal == (409, "wrong_state")


# The agent


@pytest.mark.parametrize(
    ("change_agent", "words"),
    [({"is_active": False}, "deactivated"), ({"clearance": Sensitivity.INTERNAL}, "may no longer read")],
)
def test_an_answer_that_cannot_reach_its_agent_is_refused_and_the_page_says_so_before(
    team: Team, api: Api, person: Person, secret: UUID, change_agent: dict[str, Any], words: str, owner_sql: Any
) -> None:
    assert api.agent is not None
    browser = browser_of(person)
    before = browser.get(f"/escalations/{secret}/").content.decode()
    assert "form-respond" in before
    assert words not in before
    change(api.agent.membership, **change_agent)
    page = browser.get(f"/escalations/{secret}/").content.decode()
    assert words in page
    assert "form-respond" not in page
    assert "form-finish" in page
    claims.claim(person.viewer, escalation_id=secret)
    with pytest.raises(NotAllowed) as caught:
        answers.decide(person.viewer, escalation_id=secret, verdict="respond", message="x")
    assert words in caught.value.detail
    answers.finish(person.viewer, escalation_id=secret, done="Paid by hand.")


def test_an_agent_deactivated_after_the_decision(
    api: Api, person: Person, lead: Person, secret: UUID, owner_sql: Any
) -> None:
    assert api.agent is not None
    decide(person, secret)
    change(api.agent.membership, is_active=False)
    for who in (person, lead):
        assert refusal(lambda who=who: answers.hand_back(who.viewer, escalation_id=secret)) == (422, "not_allowed")
    # The timer does not send it either: somebody is to finish the work.
    expire(secret, owner_sql)
    for job in jobs(secret, owner_sql):
        work(job)
    change(api.agent.membership)
    assert (shown(api, secret)["state"], answer(api, secret)) == ("queued", None)


# Time


def test_a_claim_whose_time_is_over_is_anybodys(team: Team, api: Api, person: Person, owner_sql: Any) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    expire(row, owner_sql)
    after = shown(api, row)
    assert (after["state"], after["owner"], after["claimed_at"]) == ("queued", None, None)
    assert [found["id"] for found in api.results("escalations?state=queued")] == [str(row)]
    assert api.results("escalations?state=claimed") == []
    others = [make_person(team) for _ in range(3)]
    page = browser_of(others[0]).get("/?owner=none").content.decode()
    assert f'data-escalation="{row}"' in page
    assert f'data-escalation="{row}"' not in browser_of(person).get("/?owner=me").content.decode()

    def claim(who: Person) -> str:
        try:
            return claims.claim(who.viewer, escalation_id=row).state
        except Conflict as error:
            return str(error.code)

    assert sorted(at_once(*(lambda who=who: claim(who) for who in others))) == [
        "already_claimed",
        "already_claimed",
        "claimed",
    ]


@pytest.mark.parametrize("verb", ["claim", "next"])
def test_by_claiming_it_and_by_taking_the_next(team: Team, api: Api, person: Person, owner_sql: Any, verb: str) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    other = browser_of(make_person(team, name="mia"))
    path = f"/escalations/{row}/claim" if verb == "claim" else "/escalations/next"
    assert post(other, path, **JSON).status_code == (409 if verb == "claim" else 204)  # it stands
    expire(row, owner_sql)
    reply = post(other, path, **JSON)
    assert reply.status_code == 200
    assert (reply.json()["owner"], reply.json()["state"]) == ("mia", "claimed")


def test_a_late_answer_of_whose_claim_is_over_is_refused_with_words(api: Api, person: Person, owner_sql: Any) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    expire(row, owner_sql)
    late: list[Callable[[], Any]] = [
        lambda: answers.decide(person.viewer, escalation_id=row, verdict="respond", message="x"),
        lambda: answers.finish(person.viewer, escalation_id=row, done="x"),
        lambda: claims.keep(person.viewer, escalation_id=row),
    ]
    for call in late:
        with pytest.raises(Conflict) as caught:
            call()
        assert str(caught.value.code) == "not_owner"
        assert "Your claim has ended" in caught.value.detail
    assert claims.claim(person.viewer, escalation_id=row).state == "claimed"  # while nobody else took it
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="Yes.")
    assert answer(api, row)["message"] == "Yes."


def test_the_agent_has_its_task_again_when_the_claim_is_over(
    team: Team, api: Api, person: Person, owner_sql: Any
) -> None:
    row = escalate(api)
    claims.claim(person.viewer, escalation_id=row)
    decision = {"task": "t", "decision": "d", "reasoning": "r"}
    assert api.post("decisions", decision).refusal == (409, "human_owned")
    expire(row, owner_sql)
    assert api.post("decisions", decision).status == 201
    token = api.make("tasks/t/claim")["token"]
    # And keeps its lease when somebody writes down that the claim is over.
    for job in jobs(row, owner_sql):
        work(job)
    assert shown(api, row)["state"] == "queued"
    assert api.make("tasks/t/renew", {"token": token})["token"] == token
    # Until a person takes it.
    claims.claim(make_person(team).viewer, escalation_id=row)
    assert api.post("tasks/t/renew", {"token": token}).refusal == (409, "human_owned")


@pytest.mark.parametrize(
    "wrong", [timedelta(hours=-1), timedelta(minutes=-2), timedelta(minutes=2), timedelta(hours=1)]
)
def test_the_servers_own_clock_does_not_matter(
    team: Team, api: Api, person: Person, owner_sql: Any, wrong: timedelta
) -> None:
    row, other = escalate(api), make_person(team)
    with time_machine.travel(datetime.now(UTC) + wrong):
        claims.claim(person.viewer, escalation_id=row)
        assert refusal(lambda: claims.claim(other.viewer, escalation_id=row)) == (409, "already_claimed")
        assert claims.next_free(other.viewer) is None
        assert shown(api, row)["owner"] == "sam"
        expire(row, owner_sql)
        assert shown(api, row)["state"] == "queued"
        taken = claims.next_free(other.viewer)
    assert taken is not None
    assert (taken.id, taken.owner_id) == (row, other.membership.id)
    sql = "select claim_expires_at - clock_timestamp() from escalation where id = %s"
    assert timedelta(minutes=25) < owner_sql.execute(sql, [row]).fetchone()[0] <= timedelta(minutes=30)


def test_what_is_decided_is_not_taken_back_by_time(api: Api, person: Person, secret: UUID, owner_sql: Any) -> None:
    decide(person, secret)
    expire(secret, owner_sql)
    assert (shown(api, secret)["state"], shown(api, secret)["owner"]) == ("resolved", "sam")
    assert api.post("tasks/s/claim").refusal == (409, "human_owned")


# Before it is handed back


def test_no_agent_hears_the_verdict_before_it_is_handed_back(
    team: Team, api: Api, person: Person, secret: UUID, owner_sql: Any
) -> None:
    decide(person, secret)
    told = owner_sql.execute("select data from event where row_id = %s and type = 'escalation.decide'", [secret])
    assert [set(data) for (data,) in told] == [{"state", "version"}]
    reader = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], scopes=["insights:read"])
    (row,) = reader.get("insights").data["results"]
    assert set(row["outcomes"].values()) == {0}
    answers.hand_back(person.viewer, escalation_id=secret)
    (row,) = reader.get("insights").data["results"]
    assert row["outcomes"]["respond"] == 1
