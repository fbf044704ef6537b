"""I6, short in every test run, at full size by `make prove`."""

import pytest

from tests.proofs import i06_feed
from tests.support.web import Server


@pytest.mark.prove
def test_no_event_is_lost_or_disordered_over_cuts_and_lost_bells(server: Server, full: bool):
    result = i06_feed.run(server.url, 50_000 if full else 5_000)
    print(result)
    assert result.cuts > 10, "the sockets were not cut"
    assert result.bells_cut > 0, "the doorbell was not cut"
    assert result.control_lost > 0, "the control lost nothing, so this harness would not see a loss either"
    assert (result.lost, result.foreign, result.disorder, result.resyncs) == (0, 0, 0, 0), result
