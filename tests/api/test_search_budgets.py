"""What a search, a comparison and the index cost grows with what was written, and not with it times itself (I21)."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from memoryhub.core.models import Team
from memoryhub.memory.search import indexer
from tests.support.api import Api
from tests.support.searching import ask, exact, found, hits, remember

LONG = "n" * 16_000
MB = 1 << 20


@contextmanager
def memory(most: int) -> Iterator[None]:
    """The block takes no more bytes than that at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@contextmanager
def processor(most: float) -> Iterator[None]:
    """The block takes no more of the processor, in seconds."""
    before = time.thread_time()
    yield
    assert time.thread_time() - before < most


def test_a_long_name_is_not_repeated_for_each_of_its_values(team: Team, api: Api) -> None:
    """Each was 64 MB of text: 32 kB of content, of which 256 may be sent."""
    remember(api, {LONG: [[number] for number in range(4_000)]}, {LONG: {f"a{number}": 1 for number in range(2_000)}})
    with memory(24 * MB):
        indexer.catch_up(team.id)
    assert len(found(api, "3999")) == 1
    assert len(found(api, "a1999")) == 1
    with memory(24 * MB):
        assert len(ask(api, "n a1 2000").data["results"]) == 2


def test_names_stand_before_their_values_where_they_are_of_use(api: Api) -> None:
    remember(api, {"order": {"status": "shipped", "items": [{"sku": "A1"}, {"sku": "B2"}]}})
    (hit,) = hits(api, '"order items sku b2"')
    assert hit["snippet"] == "order items sku: A1 order items sku: B2 order status: shipped"


def test_a_long_name_is_not_repeated_where_contexts_are_compared(api: Api) -> None:
    """A question of 30 kB took 64 MB, a learning of this context as much when it was stored, and when it was read."""
    context = {LONG: {f"a{number}": number for number in range(2_000)}}
    with memory(16 * MB):
        made = api.make("learnings", {"signal_type": "pattern", "details": "long", "context": context})
        relevant = api.post("learnings/relevant", {"context": context})
    assert [row["id"] for row in relevant.data["results"]] == [made["id"]]
    assert relevant.data["results"][0]["relevance"] > 0


def test_many_phrases_are_looked_for_in_one_reading(api: Api) -> None:
    """Each phrase read each text anew: 200 of them, in three texts of 60 kB, took 50 s."""
    remember(api, *["x y " * 15_000] * 3)
    with processor(5):
        assert len(hits(api, '"x y" ' * 160)) == 3
        assert len(hits(api, '"y x y x" "x y x"')) == 3
        assert exact(api, '"x x"') == []


def test_a_snippet_of_many_matches_costs_no_more_than_their_number(api: Api) -> None:
    """Each match was held against each: 64 s for a hundred texts of 4 kB."""
    remember(api, *["x y " * 1_000] * 100)
    with processor(12):
        assert len(hits(api, "x y", limit=100)) == 100


def test_many_marks_on_one_letter_are_no_long_word(team: Team, api: Api) -> None:
    """They were put in order before the word was cut: a minute for 256 kB, with everything else standing."""
    remember(api, "a" + "\u0301" * 30_000 + "\u0316" * 30_000 + " gannet")
    with processor(3):
        assert len(found(api, "gannet")) == 1


def test_a_snippet_is_found_in_a_long_text_with_any_letters(api: Api) -> None:
    remember(api, "\u0130stanbul " + "word " * 1_500 + "cormorant")
    (hit,) = hits(api, "cormorant")
    ((start, end),) = hit["highlights"]
    assert hit["snippet"][start:end] == "cormorant"


def test_the_index_takes_so_many_bytes_in_a_transaction_and_goes_on(team: Team, api: Api, owner_sql: Any) -> None:
    for number in range(2):
        remember(api, *[f"w{number} " + "z" * 200_000] * 30)
    assert len(found(api, "w0", limit=100)) == len(found(api, "w1", limit=100)) == 30
    # Whoever indexed them, this test or a worker that runs beside it.
    by_transaction = """
    select xmin::text, count(*) from search_doc
    where shelf_id in (select id from search_shelf where team_id = %s) group by 1
    """
    assert [count for _, count in owner_sql.execute(by_transaction, [team.id]).fetchall()] == [30, 30]
