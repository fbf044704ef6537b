"""I4, short in `make test` (2,000 attempts), full in `make prove` (20,000)."""

from collections import Counter
from uuid import UUID

import pytest

from escalations.models import Escalation
from memoryhub.core.models import Event
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.memory.models import Task
from tests.proofs import i04_claims as harness

pytestmark = pytest.mark.prove


def owners(viewer: Viewer) -> dict[UUID, str | None]:
    with viewer_transaction(viewer, read_only=True):
        return dict(Escalation.objects.values_list("id", "owner__name"))


def test_exactly_one_of_all_who_try_wins(full: bool) -> None:
    rows = (20_000 if full else 2_000) // harness.RACERS
    escalations, people = harness.make_escalations(rows)
    race = harness.run(escalations, people, harness.claim)
    assert race.attempts == rows * harness.RACERS
    assert race.other == []
    assert race.double == 0
    assert len(race.won) == rows
    winner = dict(race.won)
    assert winner == owners(people[0])
    assert all(winner[escalation] == name for escalation, name in race.told)
    assert len(Counter(winner.values())) > 1, "one person won everything: they did not race"
    with viewer_transaction(people[0], read_only=True):
        assert Event.objects.filter(type="escalation.claim").count() == rows
        # The task's lease went with the claim, once: a second winner would have taken a second token.
        assert set(Task.objects.values_list("token", "human_owned")) == {(1, True)}
        assert not Task.objects.exclude(holder__name__in=set(winner.values())).exists()


def test_the_control_is_caught(full: bool) -> None:
    """Reading first and writing then, without the lock between: several win."""
    escalations, people = harness.make_escalations(200 if full else 12)
    race = harness.run(escalations, people, harness.claim_unlocked)
    assert race.double > 0
    assert len(race.won) > len(escalations)


def test_no_two_people_get_the_same_next_one(full: bool) -> None:
    escalations, people = harness.make_escalations(1_000 if full else 60)
    got, _ = harness.run_next(people)
    assert sorted(got) == sorted(escalations)
    assert None not in owners(people[0]).values()


def test_claim_and_next_do_not_wait_for_each_other_in_a_circle() -> None:
    (escalation,), (claimer, looker) = harness.make_escalations(1, 2)
    got = harness.claim_while_next_looks(escalation, claimer, looker)
    assert not [found for found in got if isinstance(found, Exception)]
    assert owners(claimer) == {escalation: claimer.name}
