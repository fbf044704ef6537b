"""Searching by meaning: what is found, in what order, and what it does while the endpoint is away."""

from collections.abc import Iterator
from typing import Any

import pytest

from memoryhub.core.db.statements import run
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import embeddings, indexer, vector_indexer, vectors
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.vector_indexer import BatchOutcome
from tests.support.api import Api, at_once, make_api
from tests.support.embeddings import KEY, MODEL, Endpoint, similarity
from tests.support.factories import make_team, unique
from tests.support.hidden import plain
from tests.support.searching import ask, embed, forget_endpoint, found, hits, kept, remember

SECRET = {"sensitivity": "confidential"}
FINANCE = {"sensitivity": "internal", "compartments": ["finance"]}


def test_meaning_finds_what_shares_no_word(team: Team, api: Api, endpoint: Endpoint) -> None:
    remember(api, "the jet was postponed", "gasket of the pump", "they repaid her")
    embed(team)
    assert found(api, "late flight", mode="text") == []  # the control
    first, *_ = hits(api, "late flight", mode="semantic")
    assert first["row"]["content"] == "the jet was postponed"
    due = similarity("late flight", "the jet was postponed")
    assert first["score"] == first["matched"]["meaning"] == pytest.approx(due, abs=1e-5)
    assert (first["matched"]["words"], first["highlights"]) == ([], [])
    assert found(api, "money", mode="semantic")[0] == "they repaid her"
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    assert {request["model"] for request in endpoint.requests} == {MODEL}


def test_hybrid_fuses_both_lists_by_their_ranks(team: Team, api: Api, endpoint: Endpoint) -> None:
    remember(api, "late flight", "the jet was postponed", "a late lunch")
    embed(team)
    told = hits(api, "late flight")
    assert [hit["row"]["content"] for hit in told] == ["late flight", "a late lunch", "the jet was postponed"]
    assert told[0]["score"] == pytest.approx(2 / 61, abs=1e-6)
    both, words, meaning = told[0]["matched"], told[1]["matched"], told[2]["matched"]
    assert sorted(both["words"]) == ["flight", "late"]
    assert both["meaning"] == pytest.approx(1, abs=1e-5)
    assert words["words"] == ["late"]
    assert meaning["words"] == []
    assert meaning["meaning"] > 0.5
    assert [hit["id"] for hit in hits(api, "late flight", limit=2)] == [hit["id"] for hit in told[:2]]


def test_phrases_and_minus_hold_by_meaning_too(team: Team, api: Api, endpoint: Endpoint) -> None:
    remember(api, "the jet was postponed", "the jet was delayed by storm", "a plane")
    embed(team)
    endpoint.requests.clear()
    assert found(api, "flight -storm", mode="semantic") == ["a plane", "the jet was postponed"]
    assert found(api, 'late "the jet was"', mode="semantic", limit=1) == ["the jet was postponed"]
    assert found(api, '"no such words" flight', mode="semantic") == []
    assert endpoint.texts == ["flight", "late the jet was", "no such words flight"]
    assert found(api, "-storm", mode="semantic") == found(api, "?!", mode="semantic") == []
    assert len(endpoint.texts) == 3


def test_texts_go_in_batches_of_64_cut_to_what_a_model_reads(team: Team, api: Api, endpoint: Endpoint) -> None:
    for _ in range(3):
        remember(api, *[unique("row") for _ in range(50)])
    remember(api, "x" * 9_000)
    assert embed(team) == [BatchOutcome.SENT] * 3
    assert endpoint.sizes == [64, 64, 23]
    assert max(map(len, endpoint.texts)) == embeddings.MAX_TEXT
    assert embed(team) == []  # nothing twice
    remember(api, "one more")
    embed(team)
    assert endpoint.texts[-1] == "one more"


def test_confidential_and_private_texts_never_reach_the_endpoint(
    team: Team, endpoint: Endpoint, owner_sql: Any
) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])
    sealed, private, shown = unique("sealed"), unique("private"), unique("shown")
    remember(high, f"the word is {sealed}", **SECRET)
    remember(high, f"the word is {private}", private=True)
    remember(high, f"the word is {shown}", **FINANCE)
    embed(team)
    sent = "\n".join(endpoint.texts)
    assert shown in sent  # the control
    assert sealed not in sent
    assert private not in sent
    assert kept(owner_sql, team) == 1
    assert found(high, sealed)  # by words, as ever


@pytest.fixture
def few() -> Iterator[None]:
    """Small cells, of which few rows are looked at, so that the bound is reached."""
    before = indexer.CELL, vectors.NEAREST
    indexer.CELL, vectors.NEAREST = 4, 6
    yield
    indexer.CELL, vectors.NEAREST = before


@pytest.mark.usefixtures("few")
def test_hidden_rows_change_nothing_by_meaning(endpoint: Endpoint) -> None:
    """Nor does it matter that more of them are near, or newer, than there is room for."""
    told = []
    for hidden in (False, True):
        team = make_team()
        low, other = make_api(team, name="low"), make_api(team, name="other")
        high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="high")
        for number in range(12):
            if hidden:
                remember(high, "late flight", "late flight", **FINANCE)
                remember(high, "late flight", **SECRET)
                remember(other, "late flight", private=True)
            remember(low, f"the jet number {number} was {'postponed' if number % 3 else 'early'}", importance=0.5)
            catch_up(team.id)
        embed(team)
        queries: list[dict[str, Any]] = [{}, {"limit": 3}, {"types": "observation"}, {"min_importance": 0.4}]
        told.append(
            [
                plain(ask(low, "late flight", mode=mode, **more), team)
                for mode in ("semantic", "hybrid")
                for more in queries
            ]
        )
    assert told[0] == told[1]
    assert told[0][0].count('"score"') == 6  # as many as are looked at


def test_the_comparison_sees_one_more_row(endpoint: Endpoint) -> None:
    """The control."""
    told = []
    for extra in (False, True):
        team = make_team()
        low = make_api(team, name="low")
        remember(low, "the jet was postponed", *["late flight"] * extra)
        embed(team)
        told.append(plain(ask(low, "late flight", mode="semantic"), team))
    assert told[0] != told[1]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"task": "t"}, {"an old jet", "take another jet"}),
        ({"types": "decision"}, {"take another jet"}),
        ({"agent": "early"}, {"an old jet", "take another jet"}),
        ({"exclude_own": "true"}, {"an old jet", "take another jet"}),
        ({"tags": "a"}, {"an old jet"}),
        ({"tags": "a,c", "tags_mode": "any"}, {"an old jet"}),
        ({"tags": "a,c"}, set()),
        ({"min_importance": "0.85"}, {"an old jet"}),
        ({"agent": "nobody"}, set()),
        ({"until": "2020-01-01T00:00:00Z"}, set()),
    ],
)
def test_filters_come_before_the_bound(team: Team, endpoint: Endpoint, filters: Any, expected: Any) -> None:
    early, api = make_api(team, name="early"), make_api(team, name="late")
    early.make("tasks", {"key": "t", "title": "T"})
    remember(early, "an old jet", task="t", tags=["a", "b"], importance=0.9)
    early.make("decisions", {"task": "t", "decision": "take another jet", "reasoning": "r"})
    for _ in range(3):
        remember(api, *["plane"] * 10, tags=["b"], importance=0.2)
        catch_up(team.id)
    embed(team)
    assert set(found(api, "aircraft", mode="semantic", **filters)) == expected


def test_an_endpoint_that_is_away_costs_nobody_more_than_the_meaning(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any
) -> None:
    remember(api, "a late flight")
    embed(team)
    endpoint.status = 500
    reply = ask(api, "late", mode="semantic")
    assert reply.refusal == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    asked = len(endpoint.requests)
    reply = ask(api, "late")
    assert (reply.status, reply.data["degraded"], len(reply.data["results"])) == (200, True, 1)
    assert len(endpoint.requests) == asked  # it is left alone for a moment
    assert "degraded" not in ask(api, "late", mode="text").data
    remember(api, "a late plane")
    catch_up(team.id)
    assert vector_indexer.embed(team.id) is BatchOutcome.FAILED
    assert team.id not in vector_indexer.behind()  # likewise
    endpoint.status = 200
    forget_endpoint()
    assert len(hits(api, "delayed", mode="semantic")) == 1
    assert "degraded" not in ask(api, "late").data
    assert endpoint.sizes[-1] == 1
    owner_sql.execute("update search_vector_state set resume_at = '-infinity' where team_id = %s", [team.id])
    assert team.id in vector_indexer.behind()
    embed(team)
    assert len(hits(api, "delayed", mode="semantic")) == 2


def test_nobody_waits_long_for_a_slow_endpoint(
    team: Team, api: Api, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(api, "a late flight")
    embed(team)
    monkeypatch.setattr(embeddings, "QUERY_SECONDS", 0.3)
    endpoint.delay = 2.0
    assert ask(api, "late").data["degraded"] is True
    assert ask(api, "late", mode="semantic").status == 503


ONE = '{"index":0,"embedding":[1,2]}'
NONSENSE = [
    b"",
    b"<html>",
    b"[]",
    b'{"data":null}',
    b'{"data":[]}',
    b'{"data":[{"index":0,"embedding":[]}]}',
    b'{"data":[{"index":1,"embedding":[1,2]}]}',
    b'{"data":[{"index":0,"embedding":"AAAA"}]}',
    b'{"data":[{"index":0,"embedding":[1,"2"]}]}',
    b'{"data":[{"index":0,"embedding":[1,null]}]}',
    b'{"data":[{"index":0,"embedding":[0,0]}]}',
    b'{"data":[{"index":0,"embedding":[1e999,0]}]}',
    b'{"data":[{"index":0,"embedding":[1.7e308,1.7e308]}]}',
    b'{"data":[{"index":0,"embedding":[NaN,1]}]}',
    b'{"data":[{"index":true,"embedding":[1,2]}]}',
    f'{{"data":[{ONE},{ONE}]}}'.encode(),
    b'{"data":[{"index":0,"embedding":[' + b",".join([b"1"] * 16_001) + b"]}]}",
    b'{"data":' + b"[" * 100_000,
    b"\xff\xfe",
]


@pytest.mark.parametrize("raw", NONSENSE, ids=lambda raw: raw[:50].decode(errors="replace"))
def test_nonsense_from_the_endpoint_does_no_harm(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any, raw: bytes
) -> None:
    remember(api, "a late flight")
    endpoint.raw = raw
    catch_up(team.id)
    assert vector_indexer.embed(team.id) is BatchOutcome.FAILED
    assert kept(owner_sql, team) == 0
    assert ask(api, "late", mode="semantic").refusal == (503, "unavailable")
    forget_endpoint()
    reply = ask(api, "late")
    assert (reply.data["degraded"], len(reply.data["results"])) == (True, 1)


def test_vectors_of_another_size_are_passed_over(team: Team, api: Api, endpoint: Endpoint) -> None:
    remember(api, "a late flight")
    embed(team)
    endpoint.raw = f'{{"data":[{ONE}]}}'.encode()
    remember(api, "a late plane")
    embed(team)
    assert found(api, "delayed", mode="semantic") == ["a late plane"]
    endpoint.raw = None
    forget_endpoint()
    assert found(api, "delayed", mode="semantic") == ["a late flight"]


def test_one_bad_text_holds_up_no_others(team: Team, api: Api, endpoint: Endpoint, owner_sql: Any) -> None:
    remember(api, *[f"row {number}" for number in range(5)], "poison")
    endpoint.refuses = "poison"
    catch_up(team.id)
    for _ in range(10):
        vector_indexer.embed(team.id)
    assert kept(owner_sql, team) == 5
    assert vector_indexer.left(team.id) == (0, 1)
    sent = len(endpoint.requests)
    assert vector_indexer.embed(team.id) is BatchOutcome.NOTHING  # it is left for later
    assert len(endpoint.requests) == sent
    assert ask(api, "poison", mode="semantic").status == 503
    assert ask(api, "row", mode="semantic").status == 200  # a query that is refused is nobody else's trouble


def test_too_many_requests_are_answered_with_a_rest_of_the_length_asked_for(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any
) -> None:
    remember(api, "a late flight")
    catch_up(team.id)
    endpoint.status, endpoint.headers = 429, {"Retry-After": "120"}
    assert vector_indexer.embed(team.id) is BatchOutcome.FAILED
    asked = "select extract(epoch from resume_at - now()) from search_vector_state where team_id = %s"
    ((seconds,),) = owner_sql.execute(asked, [team.id]).fetchall()
    assert 100 < seconds <= 120


def test_the_vector_of_an_old_text_is_not_kept(
    team: Team, api: Api, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, owner_sql: Any
) -> None:
    """A row that is indexed anew, or leaves, while the endpoint thinks."""
    changed, gone = remember(api, "a late flight", "a late plane")
    catch_up(team.id)
    ask_endpoint = embeddings.embed

    def meanwhile(texts: Any, *, seconds: float) -> Any:
        made = ask_endpoint(texts, seconds=seconds)
        owner_sql.execute("update search_state set seq = 0 where team_id = %s", [team.id])
        catch_up(team.id)
        with viewer_transaction(system_viewer(team.id)) as transaction:
            indexer.remove(transaction.viewer, [gone])
        return made

    with monkeypatch.context() as patched:
        patched.setattr(embeddings, "embed", meanwhile)
        vector_indexer.embed(team.id)
    assert kept(owner_sql, team) == 0
    embed(team)
    assert kept(owner_sql, team) == 1
    assert changed == hits(api, "delayed", mode="semantic")[0]["id"]


def test_workers_share_the_work(team: Team, api: Api, endpoint: Endpoint, owner_sql: Any) -> None:
    for _ in range(4):
        remember(api, *[unique("row") for _ in range(64)])
    catch_up(team.id)
    vector_indexer.embed(team.id)
    endpoint.delay = 0.2
    assert at_once(*[lambda: vector_indexer.embed(team.id)] * 3) == [BatchOutcome.SENT] * 3
    assert len(endpoint.texts) == len(set(endpoint.texts)) == kept(owner_sql, team) == 256


def test_without_an_endpoint_all_is_as_ever(team: Team, api: Api) -> None:
    remember(api, "a late flight")
    assert ask(api, "late", mode="semantic").refusal == (409, "not_configured")
    (hit,) = hits(api, "late")
    assert "meaning" not in hit["matched"]


def test_the_vectors_are_behind_both_locks(team: Team, api: Api, endpoint: Endpoint, app_sql: Any) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])
    remember(high, "a late plane", **FINANCE)
    remember(api, "a late flight")
    embed(team)
    remember(api, "not yet sent")
    catch_up(team.id)
    for reader, seen in ((api, 1), (high, 2)):
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True):
            assert run("select count(*) from search_vector") == [(seen,)]
            assert run("select count(*) from search_vector_due") == [(0,)]
            assert run("select count(*) from search_vector_state") == [(0,)]
    for table in ("search_vector", "search_vector_due", "search_vector_state"):
        assert app_sql.execute(f"select count(*) from {table}").fetchone() == (0,), table
