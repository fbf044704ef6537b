"""I23, short in `make test` (a standby, a dump, the control), full in `make prove` (all ways, one after another)."""

import pytest

from tests.proofs import i23_lives as harness
from tests.proofs.i23_servers import (
    copy_files,
    dump_and_restore,
    dump_and_restore_elsewhere,
    promote,
    restore_to_a_point,
)
from tests.proofs.i23_world import world

pytestmark = pytest.mark.prove
ALL = (promote, restore_to_a_point, dump_and_restore, dump_and_restore_elsewhere, copy_files)


def test_whoever_heard_what_is_lost_is_told_and_nobody_else(full: bool) -> None:
    with world("i23") as hub:
        for way in ALL * 3 if full else (promote, dump_and_restore):
            seen = harness.fork(hub, way)
            print(way.__name__, seen)
            assert seen.faults == []
            assert seen.told == 9  # three doors, two cursors each, and the three that were connected
        harness.take_lives_away(hub)
        unheard = harness.plain(hub, promote)
        print("control, without lives:", unheard)
    assert min(unheard.values()) > 0, "a plain number lost nothing: the harness sees nothing"
