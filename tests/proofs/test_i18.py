"""I18, short in `make test` (a stop, a promotion), full in `make prove` (a stop, a kill, 20 promotions)."""

import pytest

from tests.proofs import i18_standby as harness
from tests.proofs.i18_system import pair

pytestmark = [pytest.mark.prove, pytest.mark.alone]

SETTLE_SECONDS = 2
SLACK = 1.0  # of a machine that does something else, beside what the contract allows


def check(found: harness.Outage, quiet_refs: set[str]) -> None:
    allowed = max(told.seconds for told in found.quiet.reads) + SLACK
    assert found.away.writes
    assert found.away.acknowledged() == set(), "a write was acknowledged that the standby does not have"
    assert {told.status for told in found.away.writes} == {503}
    assert all(told.retry_after and int(told.retry_after) >= 1 for told in found.away.writes)
    assert max(told.seconds for told in found.away.writes) <= SETTLE_SECONDS + 1 + SLACK
    assert {(told.what, told.status) for told in found.away.reads} == {
        (what, 200) for what in (*harness.READS, *harness.PROBES, harness.CONFIDENTIAL)
    }
    assert found.recorded >= sum(told.what == harness.CONFIDENTIAL for told in found.away.reads)
    slow = [told for told in found.away.reads if told.seconds > allowed]
    assert not slow, "reads wait for the standby"
    assert found.state["standby"].startswith("away since 20")
    assert found.back_seconds <= 1 + SLACK
    assert {told.status for told in found.retried.writes[-len(found.away.writes[:60]) :]} <= {200, 201}
    assert found.retried.acknowledged() <= set(found.rows)
    assert set(found.rows.values()) == {1}, "a ref was written twice"
    assert quiet_refs <= set(found.rows)


def test_while_the_standby_is_away_no_write_is_acknowledged_and_reads_go_on(full: bool) -> None:
    with pair("i18", SETTLE_SECONDS=str(SETTLE_SECONDS)) as under_test:
        for name, kill in (("stopped", False), ("killed", True))[: 2 if full else 1]:
            found = harness.outage(under_test, name, kill=kill, seconds=20 if full else 6)
            print(
                f"{name}: {len(found.away.writes)} writes, slowest"
                f" {max(told.seconds for told in found.away.writes):.2f} s; {len(found.away.reads)} reads, slowest"
                f" {max(told.seconds for told in found.away.reads):.2f} s (quiet"
                f" {max(told.seconds for told in found.quiet.reads):.2f} s); back after {found.back_seconds:.2f} s"
            )
            check(found, found.quiet.acknowledged())
        decided = harness.decide_away(under_test)
        assert (decided.decide, decided.state) == (503, "handed_back"), "it stands, and is not confirmed"
        assert (503 in decided.told, 200 in decided.told) == (True, False), "the agent was told what may be lost"
        assert max(decided.slowest, *decided.signed_in) <= 1 + SLACK
        assert decided.repeated == [(503, 503), (503, 503), (200, 200)], "a repeat tells of what may be lost"
        assert (decided.after["decision"], decided.after["message"]) == ("respond", "Yes.")
        moved = harness.fail_over(under_test, "moved", kills=20 if full else 1)
        print("promotions:", moved.kills, "acknowledged:", moved.acknowledged, "lost:", len(moved.lost))
        under_test.owner(harness.LOCAL_ONLY)
        control = harness.fail_over(under_test, "control", kills=1)
        print("control, local disk only:", control.acknowledged, "acknowledged,", len(control.lost), "lost")
    assert moved.acknowledged > 0
    assert (moved.lost, moved.twice) == ([], [])
    assert control.lost, "the control was not caught: a loss could not have been seen"
