"""I9, short in `make test` (2 rounds), full in `make prove` (50 rounds)."""

import pytest

from tests.prove import i09_outbox as harness

pytestmark = pytest.mark.prove


def test_no_work_is_lost_between_commit_and_broker(full: bool) -> None:
    rounds = 50 if full else 8
    report = harness.run(rounds, seed=9)
    print(report)
    assert report.jobs == rounds * harness.JOBS
    assert report.double == 0
    assert report.slowest < 30
    # The faults really struck.
    assert report.struck > 0
    assert report.refused > 0


def test_without_the_sweeper_work_remains() -> None:
    """The control, and what heals it."""
    remained, healed = harness.run_without_sweeper()
    assert remained > 0
    assert healed < 30
