"""I5, short in `make test` (180 POSTs), full in `make prove` (5,000)."""

from collections import Counter
from typing import Any

import pytest

from tests.proofs import i05_repeats as harness

pytestmark = pytest.mark.prove


def test_one_effect_and_one_answer_however_often_it_is_sent(server: Any, owner_sql: Any, full: bool) -> None:
    count = 5_000 if full else 180
    done = harness.run(server.url, harness.make_stage(count), owner_sql)
    assert len(done) == count
    assert [(sent.post, sent.effects) for sent in done if sent.is_double or sent.is_lost] == []
    assert [(sent.post, sent.way, sent.answers) for sent in done if sent.is_at_odds] == []
    # The faults really struck.
    ways = Counter(sent.way for sent in done)
    assert all(ways[way] > count / 10 for way in harness.WAYS)
    assert sum(sent.cuts for sent in done) > count / 10
    assert any(sent.landed for sent in done), "no cut request was done: nothing was replayed after a cut"
    assert any(sent.cuts and not sent.landed for sent in done)
    assert sum(len(sent.answers) - 1 for sent in done) > count / 2, "hardly anything was answered twice"
    assert len({sent.post.kind for sent in done}) == len(harness.KINDS) + 2


def test_the_control_is_caught(server: Any, owner_sql: Any) -> None:
    """Without the key the same POSTs are done again, and answered otherwise."""
    done = harness.run(server.url, harness.make_stage(150), owner_sql, keyed=False)
    doubled = {sent.post.kind for sent in done if sent.is_double}
    assert {"observe", "batch", "decide"} <= doubled
    assert any(sent.is_double and sent.landed for sent in done), "not one that was cut was done twice"
    at_odds = {sent.post.kind for sent in done if sent.is_at_odds}
    assert {"create", "release", "complete"} <= at_odds
