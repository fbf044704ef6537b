"""I24, short in `make test` (a sample of the ways to give a right), 1,200 of the 3,960 in `make prove`."""

import pytest

from tests.proofs import i24_grants as harness

pytestmark = pytest.mark.prove


def test_nobody_gives_what_they_have_not(full: bool) -> None:
    result = harness.run(harness.make_world(), tries=1200 if full else 60)
    print(result)
    assert result.above == []
    assert result.given > result.tries / 20, "nothing was given at all"
    assert result.refused > 0


def test_the_harness_notices_a_product_without_the_checks() -> None:
    world = harness.make_world()
    with harness.unchecked():
        result = harness.run(world, tries=24, seed=2)
    print(result)
    assert len(result.above) > 3, result
