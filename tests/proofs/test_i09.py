"""I9, short in `make test` (the control and one kill), full in `make prove` (50 rounds)."""

import pytest

from tests.proofs import i09_outbox as harness

pytestmark = pytest.mark.prove


def test_no_work_is_lost_between_commit_and_broker(full: bool) -> None:
    rounds = 50 if full else 1
    report = harness.run(rounds, seed=9)
    print(report)
    assert report.jobs == (rounds + 1) * harness.JOBS
    assert report.double == 0
    assert report.slowest < 30
    # The faults really struck; and without the sweeper, which is what heals, work remained.
    assert report.struck > 0
    assert report.refused > 0
    assert report.remained > 0
    assert report.healed < 30
