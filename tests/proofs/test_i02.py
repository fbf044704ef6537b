"""I2, short in `make test` (5 seeds), full in `make prove` (100)."""

from typing import Any

import pytest

from tests.proofs import i02_linear as harness
from tests.proofs.i02_linear import known_history

pytestmark = pytest.mark.prove


@pytest.fixture(scope="module")
def keys() -> list[str]:
    from tests.support.factories import make_agent, make_team

    team = make_team()
    return [make_agent(team).key for _ in range(harness.CLIENTS)]


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


def test_facts_are_linearizable(server: Any, keys: list[str], full: bool) -> None:
    calls = refused = absent = 0
    for seed in range(100 if full else 5):
        for history in harness.record(port_of(server), keys, seed):
            assert history.faults == [], f"seed {seed}"
            calls += len(history.calls)
            refused += sum(call.rests_on is not None and not call.writes for call in history.calls)
            absent += sum(not call.writes and call.value is None for call in history.calls)
    print(f"{calls} calls, {refused} refused, {absent} saw no fact")
    assert refused > calls / 20, "they did not race"
    assert absent > 0


def test_a_cached_reader_is_caught(server: Any, keys: list[str]) -> None:
    faults = []
    for seed in range(3):
        cache = harness.Cache(seconds=0.5)
        faults += [
            fault for history in harness.record(port_of(server), keys, seed, cache=cache) for fault in history.faults
        ]
    assert any("was begun when" in fault for fault in faults)


GOOD = known_history((0, 1, "write", 1), (0.5, 3, "see", 1), (1, 4, "write", 2), (2, 3, "see", 2), (2.5, 3.5, "see", 1))
STORED = {1: "v1", 2: "v2"}


def test_the_checker_takes_what_can_be_ordered() -> None:
    assert harness.check(GOOD, STORED) == []
    assert harness.check([*GOOD, *known_history((-1, 0.2, "none", None))], STORED) == []


@pytest.mark.parametrize(
    ("call", "stored"),
    [
        ((5, 6, "see", 1), STORED),  # an old version, after a newer one was acknowledged
        ((3.2, 6, "see", 1), STORED),  # or read
        ((1.5, 2, "none", None), STORED),  # no fact, after it was made
        ((5, 6, "see", 3), STORED),  # what was never written
        ((0, 6, "write", 2), STORED),  # a second writer
        ((0, 0.1, "see", 2), {1: "v1", 2: "other"}),  # another value
        ((5, 6, "write", 4), {**STORED, 4: "v4"}),  # a gap
    ],
)
def test_the_checker_finds_what_cannot(call: Any, stored: dict[int, str | None]) -> None:
    assert harness.check([*GOOD, *known_history(call)], stored) != []
