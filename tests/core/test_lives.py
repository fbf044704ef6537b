"""The lives of a ledger: what rests on its numbers holds over a fork, and nothing remembered outlives it."""

from typing import Any

import psycopg
import pytest

from memoryhub.core.access import labels
from memoryhub.core.actions import feed, lives
from memoryhub.core.errors import Gone
from memoryhub.core.ledger.events import read_ledger
from memoryhub.core.ledger.lives import Ledger
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.live.reader import MAX_BEHIND, check_cursor
from memoryhub.memory.actions import leases, observations
from memoryhub.memory.actions.observations import NewObservation
from memoryhub.memory.search import indexer
from memoryhub.memory.selectors.tasks import ref_by_key
from tests.support.api import make_api
from tests.support.factories import make_agent, make_team
from tests.support.labelled_world import make_task

Owner = psycopg.Connection[Any]
LIFE = 1 << 40


@pytest.fixture
def agent() -> Viewer:
    made = make_agent(make_team("lives")).viewer
    log(made, 10)
    return made


def log(viewer: Viewer, count: int) -> None:
    for number in range(count):
        observations.log(viewer, item=NewObservation(content=f"n{number}"))


def begin(viewer: Viewer, at_least: int = 0) -> int:
    return lives.begin(system_viewer(viewer.team), at_least=at_least)


def floor_told(viewer: Viewer, after: int) -> int | None:
    """The floor that a cursor is told; None for a good one."""
    try:
        check_cursor(viewer, after)
    except Gone as gone:
        return int(gone.extra["floor"])
    return None


def test_a_life_numbers_from_its_own_place_densely_and_cursors_of_what_was_kept_go_on(agent: Viewer) -> None:
    fork = read_ledger(agent).head
    assert begin(agent) == 1
    log(agent, 3)
    assert begin(agent, at_least=4) == 4, "lives that others have had are passed over"
    log(agent, 2)
    ledger = read_ledger(agent)
    assert (ledger.life, ledger.head) == (4, 4 * LIFE + 3)
    assert ledger.forks == ((0, 0), (1, fork), (4, LIFE + 4))
    good = [0, fork - 1, fork, LIFE + 1, LIFE + 4, 4 * LIFE + 1, ledger.head]
    lost = {fork + 1: fork, LIFE: fork, LIFE + 5: LIFE + 4, 2 * LIFE + 1: LIFE + 4, 4 * LIFE: LIFE + 4}
    assert [floor_told(agent, cursor) for cursor in good] == [None] * len(good)
    assert {cursor: floor_told(agent, cursor) for cursor in lost} == lost
    assert floor_told(agent, ledger.head + 1) == 0, "of the future, and of no history that we know"


def test_how_far_behind_a_reader_is_counts_events_and_not_numbers() -> None:
    ledger = Ledger(floor=0, head=2 * LIFE + 100, life=2, forks=((0, 0), (1, 9_000), (2, LIFE + 950)))
    assert ledger.position(ledger.head) == 9_000 + 950 + 100
    assert [ledger.position(seq) for seq in (0, 9_000, 9_001, LIFE, LIFE + 1, 2 * LIFE)] == [
        *(0, 9_000, 9_000, 9_000, 9_001),
        9_950,
    ]
    assert [ledger.at(place) for place in (0, 1, 9_000, 9_001, 9_950, 9_951, 10_050)] == [
        *(0, 1, 9_000, LIFE + 1, LIFE + 950, 2 * LIFE + 1),
        2 * LIFE + 100,
    ]
    assert ledger.at(ledger.position(ledger.head) - MAX_BEHIND) == 50


def test_the_length_of_the_ledgers_is_a_number_of_events(agent: Viewer, owner_sql: Owner) -> None:
    def length() -> int:
        ((found,),) = owner_sql.execute("select ledger_length()").fetchall()
        return int(found)

    def numbers() -> int:
        ((found,),) = owner_sql.execute("select count(*) from event_seq").fetchall()
        return int(found)

    before, counted = length(), numbers()  # other tests have left ledgers with gaps
    begin(agent)
    log(agent, 2)
    assert (length() - before, numbers() - counted) == (3, 3)


def test_pruning_goes_over_a_fork(agent: Viewer, owner_sql: Owner) -> None:
    begin(agent)
    log(agent, 5)
    owner_sql.execute(
        "update event e set at = statement_timestamp() - interval '100 days' from event_seq s"
        " where s.event_id = e.id and s.team_id = %s and s.seq <= %s",
        [agent.team, LIFE + 3],
    )
    assert feed.prune(system_viewer(agent.team)) == LIFE + 3
    assert floor_told(agent, 5) == LIFE + 3


def test_a_batch_that_comes_first_after_a_fork_is_found(
    agent: Viewer, owner_sql: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The indexer takes one event at least, however many rows it made and wherever its number stands."""
    api = make_api(Team.objects.get(id=agent.team))
    indexer.catch_up(agent.team)
    monkeypatch.setattr(indexer, "BATCH", 2)
    # As if the server had been on another timeline until now: the first event begins the life.
    owner_sql.execute("update ledger_life set timeline = '00000000' where team_id = %s", [agent.team])
    assert api.get("me").data["life"] == 1, "as soon as the server is another, before anything is written"
    observations.log_batch(agent, items=[NewObservation(content="xylophone") for _ in range(5)])
    assert read_ledger(agent).head == LIFE + 1
    indexer.catch_up(agent.team)
    assert len(api.results("search?q=xylophone")) == 5


def test_tokens_are_of_their_life_and_only_grow(agent: Viewer) -> None:
    task = make_task(agent)

    def claim() -> int:
        with viewer_transaction(agent):
            found = ref_by_key(agent, task.key)
            token = leases.claim(agent, task=found).token
            leases.release(agent, task=found, token=token)
        return token

    tokens = [claim(), claim()]
    begin(agent, at_least=3)
    tokens += [claim(), claim()]
    assert tokens == [1, 2, 3 * 2**32 + 1, 3 * 2**32 + 2]


def test_what_was_remembered_by_id_is_forgotten_at_a_new_life(agent: Viewer) -> None:
    """A label's id may stand for another label in another history."""
    log(agent, 1)
    with viewer_transaction(agent):
        found = labels.ensure_label(agent, 1)
        assert labels._by_id[found.id] == found
    labels._by_id[found.id] = labels.LabelRef(found.id, agent.team, 0, ("of", "another", "history"))
    with viewer_transaction(agent, read_only=True):
        assert labels.label_by_id(found.id).compartments, "the control: it is remembered"
    begin(agent)
    with viewer_transaction(agent, read_only=True) as transaction:
        assert transaction.life == 1
        assert labels.label_by_id(found.id) == found
