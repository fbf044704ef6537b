"""Background work for all teams ends in its time, and leaves nobody out for good."""

import time

from memoryhub.core.sweeps import sweep

TEAMS = range(100)


def test_a_sweep_ends_in_its_time_also_within_a_round_and_reaches_every_team_in_the_end() -> None:
    reached: set[int] = set()

    def step(team: int) -> bool:
        time.sleep(0.005)
        reached.add(team)
        return True

    sweep(TEAMS, step, seconds=0.05, failure="failed")
    assert len(reached) < len(TEAMS)
    deadline = time.monotonic() + 20
    while len(reached) < len(TEAMS):
        assert time.monotonic() < deadline
        sweep(TEAMS, step, seconds=0.05, failure="failed")


def test_a_team_where_it_fails_is_left_and_the_others_go_on() -> None:
    done: list[int] = []

    def step(team: int) -> bool:
        if team == 7:
            raise ValueError
        done.append(team)
        return done.count(team) < 2

    sweep(TEAMS, step, seconds=5, failure="failed")
    assert sorted(done) == sorted([team for team in TEAMS if team != 7] * 2)
