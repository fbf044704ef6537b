"""Which agents may supersede, revoke and judge a decision of another's: a rule of the team."""

from collections.abc import Callable
from typing import Any

import pytest

from escalations.actions import claims
from memoryhub.core.actions import teams
from memoryhub.core.errors import Invalid
from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.actions import decisions
from tests.support.api import Api, Reply, make_api
from tests.support.decisions import decide, judge, revoke, supersede
from tests.support.factories import Person, installation, make_person

VERBS: dict[str, Callable[[Api, str], Reply]] = {"supersede": supersede, "revoke": revoke, "outcome": judge}
each_verb = pytest.mark.parametrize("verb", VERBS)


def set_rule(team: Team, rule: str) -> None:
    found = Team.objects.get(id=team.id)
    teams.change(
        installation(),
        team=found,
        name=found.name,
        tell_withheld=True,
        acknowledge_hours=24,
        feed_days=30,
        decisions_changed_by=rule,
    )


@pytest.fixture
def decided(api: Api) -> str:
    api.make("tasks", {"key": "t", "title": "T"})
    made: str = decide(api).data["id"]
    return made


@each_verb
def test_any_agent_may_unless_the_team_says_otherwise(team: Team, decided: str, verb: str) -> None:
    assert VERBS[verb](make_api(team), decided).status in (200, 201)


@each_verb
def test_by_the_rule_only_its_author_and_the_tasks_holder(
    team: Team, api: Api, decided: str, verb: str, owner_sql: Any
) -> None:
    set_rule(team, "author_and_holder")
    other, holder = make_api(team), make_api(team)
    refused = VERBS[verb](other, decided)
    assert refused.refusal == (403, "forbidden")
    assert "author" in refused.data["detail"]
    assert api.get("decisions").data["results"][0]["status"] == "active"
    holder.make("tasks/t/claim")
    assert VERBS[verb](other, decided).refusal == (403, "forbidden")
    # A lease that has run out is none, by the database's clock, whether or not somebody has swept it.
    owner_sql.execute("update task set lease_expires_at = now() - interval '1 second' where team_id = %s", [team.id])
    assert VERBS[verb](holder, decided).refusal == (403, "forbidden")
    holder.make("tasks/t/claim")
    assert VERBS[verb](holder, decided).status in (200, 201)


@each_verb
def test_its_author_may_by_either_rule(team: Team, api: Api, decided: str, verb: str) -> None:
    set_rule(team, "author_and_holder")
    make_api(team).make("tasks/t/claim")
    assert VERBS[verb](api, decided).status in (200, 201)


def test_people_always_may(team: Team, decided: str) -> None:
    set_rule(team, "author_and_holder")
    sam = make_person(team)
    assert decisions.outcome(sam.viewer, decision_id=decided, outcome="worked")  # type: ignore[arg-type]
    assert decisions.revoke(sam.viewer, decision_id=decided, reason="Wrong.")  # type: ignore[arg-type]


def test_the_state_is_told_before_the_right(team: Team, api: Api, decided: str, person: Person) -> None:
    set_rule(team, "author_and_holder")
    other, stranger = make_api(team), make_api(team, Sensitivity.PUBLIC)
    revoke(api, decided)
    for label in ({}, {"sensitivity": "public"}, {"sensitivity": "confidential"}):
        assert supersede(other, decided, **label).refusal == (409, "wrong_state"), label
    assert revoke(other, decided).refusal == (409, "wrong_state")
    assert supersede(other, decided, client_ref="mine").refusal == (409, "wrong_state")
    # What is wrong with the body comes before both, and what is hidden before everything.
    assert other.post(f"decisions/{decided}/supersede", {}).refusal == (400, "invalid")
    for verb in VERBS.values():
        assert verb(stranger, decided).refusal == (404, "not_found")
    again = decide(api).data["id"]
    asked = api.make("escalations", {"task": "t", "reason_code": "other", "reason": "r", "question": "q"})["id"]
    claims.claim(person.viewer, escalation_id=asked)
    for change in (supersede, revoke):
        assert change(other, again).refusal == (409, "human_owned")


def test_the_rule_is_an_audited_setting(team: Team, owner_sql: Any) -> None:
    set_rule(team, "author_and_holder")
    sql = "select data from event where type = 'team.change' and data ->> 'team' = %s order by id desc limit 1"
    ((data,),) = owner_sql.execute(sql, [team.slug])
    assert data["decisions_changed_by"] == "author_and_holder"
    assert data["before"] == {"decisions_changed_by": "all"}
    with pytest.raises(Invalid):
        set_rule(team, "nobody")
