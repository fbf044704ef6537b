"""Facts: made, changed and deleted by who has seen the newest version, and by nobody else."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, Reply, at_once, make_api
from tests.support.factories import unique
from tests.support.facts import NEW, delete, make, put


def versions(api: Api, key: str) -> list[int]:
    return [row["version"] for row in api.results(f"facts/{key}/history")]


# One after another


def test_put_answers_the_version_that_it_made(api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    body = {
        "task": "t",
        "valid_from": "2026-01-31T09:30:00+02:00",
        "valid_to": "2027-01-01T00:00:00Z",
        "client_ref": "ref:1",
    }
    reply = put(api, "price:A-1", {"eur": 12.5, "tiers": [1, None, "ü"]}, **body)
    assert reply.status == 201
    assert re.fullmatch(f'"{reply.data["id"]}[.]1[.][0-9a-f]{{8}}"', reply.headers["ETag"])
    assert reply.data.items() >= {**body, "valid_from": "2026-01-31T07:30:00Z", "version": 1}.items()
    assert reply.data["value"] == {"eur": 12.5, "tiers": [1, None, "ü"]}
    assert (reply.data["author"], reply.data["sensitivity"], reply.data["expires_at"]) == (api.name, "internal", None)
    read = api.get("facts/price:A-1")
    assert (read.data, read.headers["ETag"]) == (reply.data, reply.headers["ETag"])


def test_a_change_is_the_next_version_and_replaces_the_whole_fact(api: Api, team: Team) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    etag = make(api, "k", 1, task="t", ttl_seconds=600, valid_to="2999-01-01T00:00:00Z", client_ref="r")
    other = make_api(team)
    reply = put(other, "k", 2, etag)
    assert (reply.status, reply.data["version"], reply.data["value"], reply.data["author"]) == (200, 2, 2, other.name)
    assert [reply.data[name] for name in ("task", "expires_at", "valid_to", "client_ref")] == [None] * 4
    first, second = (row["seq"] for row in reversed(api.results("facts/k/history")))
    assert second == reply.data["seq"] > first


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "", " ", "text", [], [1, {"a": None}], {}, {"": 1}])
def test_a_value_is_any_json(api: Api, value: Any) -> None:
    make(api, "k", value)
    read = api.get("facts/k")
    assert (read.status, read.data["value"]) == (200, value)


def test_a_stale_change_is_refused_with_both_versions(api: Api) -> None:
    first = make(api, "k", "mine")
    second = put(api, "k", "theirs", first).headers["ETag"]
    lost = put(api, "k", "late", first)
    assert lost.refusal == (412, "precondition_failed")
    assert (lost.data["current"]["version"], lost.data["current"]["value"]) == (2, "theirs")
    assert (lost.data["expected"]["version"], lost.data["expected"]["value"]) == (1, "mine")
    assert lost.headers["ETag"] == second
    assert versions(api, "k") == [2, 1]
    ahead = put(api, "k", "early", second.replace(".2", ".3"))
    assert (ahead.status, ahead.data["current"]["version"], ahead.data["expected"]) == (412, 2, None)
    foreign = put(api, "k", "x", make(api, "other", 1))
    assert (foreign.status, foreign.data["expected"]) == (412, None)


def test_making_what_is_there_is_refused_with_it(api: Api, team: Team) -> None:
    etag = make(api, "k", 1)
    again = put(make_api(team), "k", 2)
    assert again.refusal == (412, "precondition_failed")
    assert (again.data["current"]["value"], again.data["expected"], again.headers["ETag"]) == (1, None, etag)


def test_preconditions(api: Api) -> None:
    etag = make(api, "k", 1)
    body = {"value": 2}
    for headers, refusal in (
        ({}, (428, "precondition_required")),
        ({"If-Match": etag, **NEW}, (400, "invalid")),
        ({"If-Match": "*"}, (400, "invalid")),
        ({"If-Match": f"W/{etag}"}, (400, "invalid")),
        ({"If-Match": etag.strip('"')}, (400, "invalid")),
        ({"If-Match": f"{etag}, {etag}"}, (400, "invalid")),
        ({"If-None-Match": etag}, (400, "invalid")),
    ):
        assert api.send("PUT", "facts/k", body, headers=headers).refusal == refusal, headers
        if "If-Match" not in headers:
            assert api.send("DELETE", "facts/k", headers=headers).refusal == (428, "precondition_required")
    for method in ("PUT", "DELETE"):
        reply = api.send(method, "facts/none", body, headers={"If-Match": etag})
        assert reply.refusal == (404, "not_found")
    assert versions(api, "k") == [1]


def test_delete_is_a_version_and_what_is_made_again_goes_on_counting(api: Api) -> None:
    first = make(api, "k", "once")
    gone = delete(api, "k", first)
    assert (gone.status, gone.data) == (204, None)
    assert api.get("facts/k").refusal == (404, "not_found")
    assert delete(api, "k", first).refusal == (404, "not_found")
    assert put(api, "k", "x", first).refusal == (404, "not_found")
    assert [(row["version"], row["deleted"], row["value"]) for row in api.results("facts/k/history")] == [
        (2, True, None),
        (1, False, "once"),
    ]
    again = put(api, "k", "twice")
    assert (again.status, again.data["version"]) == (201, 3)
    for old in (first, first.replace(".1", ".2")):
        assert put(api, "k", "x", old).refusal == (412, "precondition_failed")
        assert delete(api, "k", old).refusal == (412, "precondition_failed")
    assert versions(api, "k") == [3, 2, 1]


def test_a_fact_past_its_time_to_live_is_absent(api: Api, owner_sql: Any) -> None:
    etag = make(api, "k", 1, ttl_seconds=600)
    assert api.get("facts/k").data["expires_at"] is not None
    owner_sql.execute("update fact set expires_at = now() - interval '1 second' where id = %s", [etag[1:37]])
    assert api.get("facts/k").status == 404
    assert api.results("facts") == []
    assert put(api, "k", 2, etag).status == delete(api, "k", etag).status == 404
    again = put(api, "k", 3)
    assert (again.status, again.data["version"], again.data["expires_at"]) == (201, 2, None)


def test_ttl_is_counted_by_the_databases_clock(api: Api, owner_sql: Any) -> None:
    make(api, "k", 1, ttl_seconds=600)
    (seconds,) = owner_sql.execute(
        "select extract(epoch from expires_at - changed_at)::int from fact where id = %s",
        [api.get("facts/k").data["id"]],
    ).fetchone()
    assert seconds == 600


def test_what_is_wrong_with_a_body(api: Api) -> None:
    for fields, pointer in (
        ({"ttl_seconds": 0}, "/ttl_seconds"),
        ({"ttl_seconds": 315_360_001}, "/ttl_seconds"),
        ({"valid_from": "2026-01-31"}, "/valid_from"),
        ({"valid_from": "2026-01-31T00:00:00Z", "valid_to": "2026-01-31T00:00:00Z"}, "/valid_to"),
        ({"task": "a b"}, "/task"),
        ({"version": 1}, "/version"),
        ({"key": "k"}, "/key"),
    ):
        reply = put(api, "k", 1, **fields)
        assert (reply.status, [error["pointer"] for error in reply.data["errors"]]) == (400, [pointer]), fields
    assert put(api, "k", 1, task="none").data["errors"][0]["pointer"] == "/task"
    assert put(api, "k", "x" * 256 * 1024).data["errors"][0]["code"] == "too_large"
    assert api.get("facts/k").status == 404


# Repeated


def test_a_repeated_client_ref_is_answered_with_what_it_made(api: Api) -> None:
    first = put(api, "k", 1, client_ref="a")
    changed = put(api, "k", 2, first.headers["ETag"], client_ref="b")
    put(api, "k", 3, changed.headers["ETag"])
    for etag, ref, made in ((None, "a", first), (first.headers["ETag"], "b", changed)):
        again = put(api, "k", "other", etag, client_ref=ref)
        assert (again.status, again.data) == (200, made.data)
    assert versions(api, "k") == [3, 2, 1]
    reply = put(api, "l", 1, client_ref="a")
    assert (reply.refusal, reply.data["key"]) == ((409, "already_exists"), "k")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_idempotency_key_replays_the_answer(api: Api, method: str) -> None:
    etag, key = make(api, "k", 1), unique("key")
    body = {"value": 2} if method == "PUT" else None
    first, again = (api.send(method, "facts/k", body, key=key, headers={"If-Match": etag}) for _ in range(2))
    assert (again.status, again.data) == (first.status, first.data)
    assert first.status in (200, 204)
    assert versions(api, "k") == [2, 1]
    other = api.send(method, "facts/k", body, key=key, headers={"If-Match": etag.replace(".1", ".2")})
    assert other.refusal == (422, "idempotency_mismatch")


# At once


def test_of_all_who_change_one_version_one_wins(team: Team) -> None:
    apis = [make_api(team) for _ in range(6)]
    etag = make(apis[0], "k", 0)
    for round_ in range(5):
        replies = at_once(*(partial(put, api, "k", api.name, etag) for api in apis))
        assert sorted(reply.status for reply in replies) == [200] + [412] * 5
        (won,) = (reply for reply in replies if reply.status == 200)
        lost = [reply.data["current"] for reply in replies if reply.status == 412]
        assert all(row["version"] == won.data["version"] == round_ + 2 for row in lost)
        assert all(row["value"] == won.data["value"] for row in lost)
        etag = won.headers["ETag"]


def test_of_all_who_make_a_fact_one_does(team: Team) -> None:
    apis = [make_api(team) for _ in range(6)]
    for number in range(5):
        replies = at_once(*(partial(put, api, f"k{number}", api.name) for api in apis))
        assert sorted(reply.status for reply in replies) == [201] + [412] * 5
        (won,) = (reply for reply in replies if reply.status == 201)
        assert {reply.data["current"]["value"] for reply in replies if reply.status == 412} == {won.data["value"]}
        assert versions(apis[0], f"k{number}") == [1]


def test_deleting_and_changing_at_once(team: Team) -> None:
    one, other = make_api(team), make_api(team)
    for number in range(6):
        etag = make(one, f"k{number}", 0)
        race: list[Callable[[], Reply]] = [
            partial(delete, one, f"k{number}", etag),
            partial(put, other, f"k{number}", 1, etag),
        ]
        statuses = [reply.status for reply in at_once(*race)]
        assert statuses in ([204, 404], [412, 200])
        assert versions(one, f"k{number}") == [2, 1]


def test_one_client_ref_at_once_makes_one_version(api: Api) -> None:
    etag = make(api, "k", 0)
    replies = at_once(*[partial(put, api, "k", 1, etag, client_ref="r")] * 4)
    assert {(reply.status, reply.data["version"]) for reply in replies} == {(200, 2)}
    replies = at_once(*[partial(put, api, "new", 1, client_ref="s")] * 4)
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 201]


def test_a_reader_may_not_put(team: Team) -> None:
    api = make_api(team, Sensitivity.INTERNAL, scopes=["memory:read"])
    assert put(api, "k", 1).refusal == (403, "forbidden")
    assert api.get("facts/k").status == 404
    blind = make_api(team, scopes=["memory:write"])
    make(blind, "k", 1)
    assert blind.get("facts/k").refusal == (403, "forbidden")
