"""I1, short in `make test` (a kill of each kind), full in `make prove` (50 kills, 30,000 acknowledged writes)."""

import pytest

from tests.proofs import i01_facts as harness
from tests.proofs.i01_system import POSTGRES, WEB, system

pytestmark = pytest.mark.prove


def test_no_acknowledged_version_of_a_fact_is_lost(full: bool) -> None:
    with system("i01") as under_test:
        victims = () if full else (POSTGRES, *WEB[:2], "worker")
        kills, writes = (50, 30_000) if full else (4, 300)
        report = harness.run(under_test, "real", kills=kills, writes=writes, seed=1, victims=victims)
        print(report)
        unsettled = harness.run_unsettled(under_test, most=10)
        print("control, answered before it is on disk:", unsettled)
        blind = harness.run_blind(under_test, writes=100)
        print("control, not compared:", blind)
    assert report.faults == []
    assert report.lost == []
    assert report.kills >= kills
    assert report.acknowledged >= writes
    assert report.cut > 0, "no kill came in the middle of a write"
    # Both controls are caught: updates that nobody had seen are overwritten; what was acknowledged is gone.
    assert blind.faults
    assert unsettled.lost
