"""Facts under labels: twins of a key, what is hidden, what is sealed."""

from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api
from tests.support.facts import delete, make, put

SECRET = {"sensitivity": "confidential", "compartments": ["finance"]}
FINANCE = "confidential%2Bfinance"


@pytest.fixture
def high(team: Team) -> Api:
    """An agent who may see finance and legal."""
    return make_api(team, Sensitivity.CONFIDENTIAL, ["finance", "legal"])


def test_a_fact_has_its_tasks_label_else_internal(high: Api, team: Team) -> None:
    high.make("tasks", {"key": "t", "title": "T", **SECRET})
    make(high, "of-task", 1, task="t")
    make(high, "of-team", 1)
    make(high, "said", 1, task="t", sensitivity="public", compartments=[])
    labels = [(row["sensitivity"], row["compartments"]) for row in high.results("facts")]
    assert labels == [("confidential", ["finance"]), ("internal", []), ("public", [])]
    low = make_api(team, Sensitivity.PUBLIC)
    make(low, "low", 1)
    assert low.get("facts/low").data["sensitivity"] == "public"
    assert put(low, "up", 1, sensitivity="internal").refusal == (403, "forbidden")


def test_a_hidden_fact_neither_collides_nor_is_told(api: Api, high: Api) -> None:
    hidden = make(high, "k", "hidden", **SECRET)
    for path in ("facts/k", "facts/k/history", "facts/k?as_of_seq=99999", f"facts/k?label={FINANCE}"):
        assert api.get(path).refusal == (404, "not_found"), path
    assert put(api, "k", 1, hidden).refusal == delete(api, "k", hidden).refusal == (404, "not_found")
    assert api.results("facts") == []
    reply = api.post("facts/read", {"keys": ["k"]})
    assert (reply.data["missing"], reply.data["ambiguous"]) == (["k"], {})
    reply = put(api, "k", "mine")
    assert (reply.status, reply.data["version"]) == (201, 1)
    foreign = put(api, "k", 2, hidden)  # the hidden one's tag fits no more than any other
    assert (foreign.refusal, foreign.data["expected"]) == ((412, "precondition_failed"), None)
    assert high.get("facts/k").data["value"] == "hidden"


def test_a_key_names_the_fact_whose_label_dominates(api: Api, high: Api) -> None:
    low = make(api, "k", "low")
    assert put(high, "k", "x").status == 412  # no label, no twin
    twin = make(high, "k", "high", **SECRET)
    assert high.get("facts/k").data["value"] == "high"
    assert high.get("facts/k?label=internal").data["value"] == "low"
    assert api.get("facts/k").data["value"] == "low"
    assert put(high, "k", "x", low).refusal == (412, "precondition_failed")  # writes address the same row
    assert put(high, "k", "low too", low, label="internal").status == 200
    assert put(high, "k", "high too", twin).status == 200
    assert [row["value"] for row in high.results("facts/k/history?label=internal")] == ["low too", "low"]
    assert [row["value"] for row in high.results("facts/k/history")] == ["high too", "high"]
    assert [row["value"] for row in high.results("facts?prefix=k")] == ["low too", "high too"]
    assert delete(high, "k", high.get("facts/k").headers["ETag"]).status == 204
    assert high.get("facts/k").data["value"] == "low too"


def test_a_key_is_ambiguous_when_no_label_dominates(high: Api) -> None:
    finance = make(high, "k", "f", **SECRET)
    make(high, "k", "l", sensitivity="confidential", compartments=["legal"])
    make(high, "clear", 1)
    labels = ["confidential+finance", "confidential+legal"]
    for reply in (
        high.get("facts/k"),
        high.get("facts/k/history"),
        high.get("facts/k?as_of_seq=99999"),
        put(high, "k", "x", finance),
        put(high, "k", "x"),
        delete(high, "k", finance),
    ):
        assert reply.refusal == (409, "ambiguous_key")
        assert reply.data["labels"] == labels
    reply = high.post("facts/read", {"keys": ["k", "clear", "none"]})
    assert (reply.data["ambiguous"], reply.data["missing"]) == ({"k": labels}, ["none"])
    assert list(reply.data["facts"]) == ["clear"]
    assert high.get(f"facts/k?label={FINANCE}").data["value"] == "f"
    assert put(high, "k", "f2", finance, label=FINANCE).status == 200
    make(high, "k", "both", sensitivity="confidential", compartments=["finance", "legal"])
    assert high.get("facts/k").data["value"] == "both"


def test_a_query_can_say_where_a_twin_is_made(api: Api, high: Api) -> None:
    make(api, "k", "low")
    reply = put(high, "k", "high", label=FINANCE)
    assert (reply.status, reply.data["sensitivity"], reply.data["compartments"]) == (201, "confidential", ["finance"])
    assert put(high, "k", "x", label=FINANCE).status == 412
    other = put(high, "l", "x", label=FINANCE, sensitivity="public", compartments=[])
    assert (other.status, other.data["errors"][0]["pointer"]) == (400, "?label")
    assert put(api, "l", "x", label=FINANCE).refusal == (403, "forbidden")


def test_a_change_leaves_the_label(high: Api) -> None:
    etag = make(high, "k", 1, **SECRET)
    etag = put(high, "k", 2, etag, **SECRET).headers["ETag"]
    for other in (
        {"sensitivity": "public", "compartments": []},
        {"compartments": ["legal"]},
        {"sensitivity": "public"},
    ):
        reply = put(high, "k", 3, etag, **other)
        assert (reply.status, reply.data["errors"][0]["code"]) == (400, "bad_choice"), other
    assert high.get("facts/k").data["value"] == 2


def test_a_confidential_fact_is_sealed_and_its_reading_recorded(high: Api, team: Team, owner_sql: Any) -> None:
    etag = make(high, "k", "the-secret-word", **SECRET)
    changed = put(high, "k", "another-secret-word", etag).headers["ETag"]
    for table in ("fact", "fact_version"):
        for (row,) in owner_sql.execute(f"select r::text from {table} r where team_id = %s", [team.id]):
            assert "secret-word" not in row
    (count,) = owner_sql.execute(
        "select count(*) from fact_version where sealed is not null and body is null"
    ).fetchone()
    assert count >= 2

    def readings() -> int:
        (number,) = owner_sql.execute("select count(*) from access_log where team_id = %s", [team.id]).fetchone()
        return int(number)

    before = readings()
    assert high.get("facts/k").data["value"] == "another-secret-word"
    assert readings() == before + 1
    assert [row["value"] for row in high.results("facts/k/history")] == ["another-secret-word", "the-secret-word"]
    assert readings() == before + 3
    lost = put(high, "k", "x", etag)  # a refusal that shows two versions is a reading of both
    assert (lost.data["current"]["value"], lost.data["expected"]["value"]) == ("another-secret-word", "the-secret-word")
    assert readings() == before + 5
    assert delete(high, "k", changed).status == 204
    assert [row["value"] for row in high.results("facts/k/history?limit=1")] == [None]


def test_a_sealed_value_does_not_open_elsewhere(high: Api, owner_sql: Any) -> None:
    first = make(high, "k", "one", **SECRET)
    put(high, "k", "two", first)
    owner_sql.execute(
        "update fact set sealed = (select sealed from fact_version where fact_id = %(id)s and version = 1)"
        " where id = %(id)s",
        {"id": first[1:37]},
    )
    data = high.get("facts/k").data
    assert (data["unavailable"], data["value"]) == (True, None)
