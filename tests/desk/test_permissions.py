"""One table says what people may do: the page offers it, the actions allow it, and nothing else."""

import re
from collections.abc import Callable
from itertools import product

import pytest
from django.test import Client

from escalations import permissions
from escalations.actions import answers, claims
from escalations.desk.verbs import VERBS
from escalations.models import Escalation
from escalations.permissions import allowed_verbs, offered, require
from escalations.selectors import escalations
from escalations.states import STATES, TRANSITIONS
from memoryhub.core.errors import Conflict
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from tests.support.desk_world import ACTION, HTML, JSON, Desk, act, body, browser_of, post
from tests.support.factories import Person, make_person


def queued(desk: Desk) -> Escalation:
    return desk.escalate(allowed=["respond", "approve"], action=ACTION)


def claimed(desk: Desk) -> Escalation:
    return claims.claim(desk.sam.viewer, escalation_id=queued(desk).id)


def decided(desk: Desk, *, hand_back: bool = False) -> Escalation:
    made, words = claimed(desk), {"verdict": "respond", "message": "Yes."}
    return answers.decide(desk.sam.viewer, escalation_id=made.id, hand_back=hand_back, **words)


def handed_back(desk: Desk) -> Escalation:
    return decided(desk, hand_back=True)


def finished(desk: Desk) -> Escalation:
    return answers.finish(desk.sam.viewer, escalation_id=claimed(desk).id, done="Done.")


def cancelled(desk: Desk) -> Escalation:
    return answers.cancel(desk.sam.viewer, escalation_id=queued(desk).id, reason="x")


CASES: list[Callable[[Desk], Escalation]] = [queued, claimed, decided, handed_back, finished, cancelled]


def shown(viewer: Viewer, escalation: Escalation) -> Escalation:
    with viewer_transaction(viewer, read_only=True):
        return escalations.escalation(viewer, escalation.id)


def people(desk: Desk) -> dict[str, Person]:
    """The owner, who has it where somebody does; somebody like them; a lead; a reader."""
    others = {"other": make_person(desk.team, name="kim"), "reader": make_person(desk.team, "reader", name="rea")}
    return {"owner": desk.sam, "lead": desk.lee, **others}


@pytest.mark.parametrize("case", CASES)
def test_what_is_allowed_is_done_and_the_rest_is_refused(desk: Desk, case: Callable[[Desk], Escalation]):
    for (who, person), verb in product(people(desk).items(), permissions.VERBS.values()):
        if verb.name == "next":
            continue  # which is about another case
        made = case(desk)
        may = verb in allowed_verbs(person.viewer, shown(person.viewer, made))
        answer = act(browser_of(person), made, verb.segment, body(verb.segment))
        is_repeated = verb.name == "claim" and case is claimed and who == "owner"  # which is fine
        assert (answer.status_code == 200) == (may or is_repeated), (who, verb.name, answer.text)
        assert answer.status_code in (200, 403, 409), (who, verb.name)


@pytest.mark.parametrize("case", CASES)
def test_the_page_offers_what_is_allowed_and_locks_what_a_claim_would_allow(desk: Desk, case: Callable):
    made = case(desk)
    for who, person in people(desk).items():
        row = shown(person.viewer, made)
        page = browser_of(person).get(f"/escalations/{made.id}/", headers=HTML).text
        allowed = {verb.segment for verb in allowed_verbs(person.viewer, row)} - {"next"}
        locked = set(re.findall(r'action="/escalations/[^"/]+/([a-z-]+)"(?=[^>]* data-locked)', page))
        offers = set(re.findall(rf'action="/escalations/{made.id}/([a-z-]+)"', page))
        assert offers - locked == allowed, who
        assert locked == {one.verb.segment for one in offered(person.viewer, row) if one.is_locked}, who
        for verb in locked:
            refused = act(browser_of(person), made, verb, body(verb))
            assert (refused.status_code, refused.json()["code"]) == (409, "not_owner"), (who, verb)


def test_require_and_allowed_verbs_agree_in_every_state(desk: Desk):
    row = shown(desk.sam.viewer, queued(desk))
    owners = [None, desk.sam.membership, desk.lee.membership]
    for state, owner, person in product(STATES, owners, [desk.sam, desk.lee]):
        row.state, row.owner = state, owner
        for name in permissions.VERBS.keys() & TRANSITIONS.keys():
            may = permissions.VERBS[name] in allowed_verbs(person.viewer, row)
            try:
                assert require(person.viewer, row, name) == TRANSITIONS[name][state]
                assert may, (name, state)
            except Conflict as refused:
                assert not may, (name, state)
                assert refused.code == ("not_owner" if state in TRANSITIONS[name] else refused.code)


def test_each_verb_has_its_transition_its_door_and_words():
    verbs = permissions.VERBS.values()
    assert {verb.segment for verb in verbs} == {*VERBS, "next"}
    assert all(verb.name in TRANSITIONS or verb.states for verb in verbs)
    assert all(verb.done.isascii() for verb in verbs), "a header carries it"
    keys = [offer.key for offer in permissions.OFFERS.values() if offer.key]
    assert len(keys) == len(set(keys))
    assert not {"j", "k", "/", "?"} & set(keys)
    assert {offer.place for offer in permissions.OFFERS.values()} <= set(permissions.PLACES)


def test_a_verb_says_what_it_did_and_where_it_leads(desk: Desk, sam: Client):
    made = queued(desk)
    taken = act(sam, made, "claim")
    assert (taken["X-Done"], taken["X-Leads-To"]) == ("It is yours.", f"/escalations/{made.id}/")
    noted = act(sam, made, "note", {"text": "x"})
    assert (noted["X-Done"], noted.headers.get("X-Leads-To")) == ("The note is on the timeline.", None)
    assert act(sam, made, "release")["X-Leads-To"] == "/"
    assert post(sam, "/escalations/next", **JSON)["X-Leads-To"] == f"/escalations/{made.id}/"
    assert post(sam, "/escalations/next", **JSON)["X-Done"] == "Nothing is free: 1 is claimed."
