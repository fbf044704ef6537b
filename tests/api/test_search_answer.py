"""What an answer to a search consists of: only what was requested, in so many tokens; and every text of a decision."""

from itertools import combinations
from typing import Any

import msgspec
import pytest

from memoryhub.core.models import Team
from memoryhub.memory.search.results import FIELDS
from tests.support.api import Api
from tests.support.decisions import decide, judge, make_stranger, revoke
from tests.support.searching import ask, found, hits, remember

ALWAYS = {"type", "id", "score"}
BYTES_PER_TOKEN = 3
SUBSETS = [chosen for size in range(1, len(FIELDS) + 1) for chosen in combinations(sorted(FIELDS), size)]


def test_the_members_that_can_be_requested_are_these() -> None:
    """Fails when a member of a hit can no longer be left out, or a new one has no test."""
    assert {"matched", "snippet", "highlights", "row"} == FIELDS


@pytest.mark.parametrize("chosen", SUBSETS, ids=",".join)
def test_a_hit_has_only_the_requested_members_and_they_are_the_same(api: Api, chosen: tuple[str, ...]) -> None:
    """Fails when an agent pays tokens for what it did not request, or gets something else for it."""
    remember(api, "a red lamp", {"lamp": ["blue", 7]})
    whole, told = hits(api, "lamp"), hits(api, "lamp", fields=",".join(chosen))
    assert len(whole) == 2
    for one, part in zip(whole, told, strict=True):
        assert part == {name: one[name] for name in one if name in ALWAYS or name in chosen}
        assert part.keys() == ALWAYS | set(chosen)


def test_a_hit_says_that_it_is_relaxed_whatever_is_requested(api: Api) -> None:
    """Fails when an agent that requests little takes a hit without the phrase for one that has it."""
    remember(api, "a red lamp", "a lamp, red")
    first, second = hits(api, '"red lamp"', fields="snippet")
    assert "relaxed" not in first
    assert second.keys() == ALWAYS | {"snippet", "relaxed"}


@pytest.mark.parametrize("fields", ["content", "snippet,content", "relaxed", "id", "Snippet"])
def test_a_member_that_is_not_there_is_refused(api: Api, fields: str) -> None:
    """Fails when a misspelt member is passed over, and the agent misses it without a word."""
    assert ask(api, "lamp", fields=fields).refusal == (400, "invalid")
    assert ask(api, "lamp", fields="snippet").status == 200


def test_members_may_be_repeated_or_separated_by_commas(team: Team, api: Api) -> None:
    """Fails when one of the two ways of giving a list is not taken."""
    remember(api, "a red lamp")
    (hit,) = hits(api, "lamp", fields="snippet,highlights")
    repeated = api.get("search?q=lamp&fields=snippet&fields=highlights").data["results"]
    assert repeated == [hit]


@pytest.mark.parametrize("fields", [None, "snippet", "row"])
def test_an_answer_has_no_more_tokens_than_its_budget(api: Api, fields: str | None) -> None:
    """Fails when a search overflows an agent's window, or fits and does not say what it left out."""
    remember(api, *[f"lamp number {number} " + "with words around it " * 6 for number in range(40)])
    more: dict[str, Any] = {"limit": 40} | ({} if fields is None else {"fields": fields})
    everything = hits(api, "lamp", **more)
    assert len(everything) == 40
    sizes = []
    for budget in (200, 500, 1_000, 3_000, 100_000):
        reply = ask(api, "lamp", budget=budget, **more)
        told = reply.data["results"]
        assert len(msgspec.json.encode(told)) <= budget * BYTES_PER_TOKEN or len(told) == 1
        assert told == everything[: len(told)]
        assert reply.data["more"] is (len(told) < 40)
        if len(told) < 40:
            further = msgspec.json.encode(everything[: len(told) + 1])
            assert len(further) > budget * BYTES_PER_TOKEN, "one more would have fitted"
        sizes.append(len(told))
    assert sizes == sorted(sizes)
    assert 1 <= sizes[0] < 40 == sizes[-1]


def test_fewer_members_fit_more_hits_into_a_budget(api: Api) -> None:
    """Fails when what is left out still counts."""
    remember(api, *[f"lamp number {number}" for number in range(40)])
    whole, short = (len(hits(api, "lamp", budget=600, limit=40, **more)) for more in ({}, {"fields": "snippet"}))
    assert 1 <= whole < short


def test_the_best_hit_is_there_even_where_it_exceeds_the_budget(api: Api) -> None:
    """Fails when a small budget and a long row make an empty answer, which reads as: there is nothing."""
    remember(api, "lamp " + "word " * 3_000)
    assert len(hits(api, "lamp", budget=200)) == 1


@pytest.mark.parametrize("budget", ["0", "199", "100001", "-1", "x", "1.5"])
def test_a_budget_out_of_bounds_is_refused(api: Api, budget: str) -> None:
    """Fails when a budget that cannot be kept is accepted."""
    assert ask(api, "lamp", budget=budget).refusal == (400, "invalid")


def test_why_a_decision_was_revoked_is_found(api: Api, task: str) -> None:
    """Fails when the reason for a change of mind cannot be searched for, or the revoked decision is lost with it."""
    row = decide(api, task).data["id"]
    assert found(api, "wrong order") == []
    assert revoke(api, row).status == 200
    (hit,) = hits(api, "wrong order")
    assert (hit["id"], hit["row"]["status"]) == (row, "revoked")
    assert [hit["snippet"][start:end] for start, end in hit["highlights"]] == ["wrong", "order"]
    assert [hit["id"] for hit in hits(api, "refund due")] == [row]
    assert found(make_stranger(), "wrong order") == []


def test_the_note_of_an_outcome_is_found(api: Api, task: str) -> None:
    """Fails when how a decision turned out cannot be searched for."""
    row = decide(api, task).data["id"]
    assert found(api, "cormorant") == []
    assert judge(api, row, note="The cormorant arrived.").status == 200
    told = hits(api, "cormorant", types="decision")
    assert [hit["id"] for hit in told] == [row]
    assert told[0]["snippet"][slice(*told[0]["highlights"][0])] == "cormorant"
    assert judge(api, row, "failed", note="The gannet left.").status == 200
    assert [hit["id"] for hit in hits(api, "gannet", types="decision")] == [row]
    assert hits(api, "cormorant", types="decision") == []
