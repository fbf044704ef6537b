"""What is no key, what is no address, and what is only not there: three answers."""

from typing import Any

import httpx2
import pytest

from memoryhub.core.models import Team
from tests.support.api import Api, make_api

BAD = ["a%20b", "%00", "%ff", "x" * 201, "a%0D%0Ab", "%D9%A1", "a%2520b", "caf%C3%A9", "a+b", "a%3Fb", "%7Bkey%7D"]
BAD += ["%0A", "%0Aabc", "abc%0A", "%0A%0A", "%0D", "%E2%80%A8", "claim-next%0A", "read%0A", "%2E%0A"]
RESERVED = {"tasks": ["claim-next", "%2E", "%2E%2E"], "facts": ["read", "%2E", "%2E%2E"]}
VERBS = {"tasks": ["", "/context", "/claim", "/renew"], "facts": ["", "/history"]}


def pointers(reply: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in reply.data["errors"]]


@pytest.mark.parametrize("noun", VERBS)
def test_a_malformed_key_is_refused(api: Api, noun: str) -> None:
    for key in BAD:
        for verb in VERBS[noun]:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                reply = api.send(method, f"{noun}/{key}{verb}", {})
                assert reply.refusal == (400, "invalid"), (method, key, verb, reply)
                assert pointers(reply) == [("{key}", "bad_format")]


def test_a_slash_in_a_key_is_refused(server: Any, team: Team) -> None:
    """Over the wire, where it differs from an address with one part more."""
    key = {"Authorization": f"Bearer {make_api(team).key}"}
    for path in ("tasks/a%2Fb", "tasks/a%2fclaim", "facts/a%2Fb/history", "facts/%2F"):
        got = httpx2.get(f"{server.url}/api/v1/{path}", headers=key)
        assert (got.status_code, got.json()["code"]) == (400, "invalid"), path
    got = httpx2.get(f"{server.url}/api/v1/tasks/a/b", headers=key)
    assert got.status_code == 404
    assert "no such address" in got.json()["detail"]


def test_a_reserved_key_is_refused_alike_everywhere(api: Api) -> None:
    told = set()
    for method in ("GET", "HEAD", "PATCH"):
        reply = api.send(method, "tasks/claim-next", {})
        assert reply.status == 400
        told |= {error["detail"] for error in reply.data["errors"]} if reply.data else set()
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("tasks", {"key": "claim-next", "title": "T"}),
        ("observations", {"task": "claim-next", "content": "x"}),
        ("decisions", {"task": "claim-next", "decision": "x", "reasoning": "y"}),
        ("learnings", {"task": "claim-next", "signal_type": "pattern", "details": "x", "context": {}}),
        ("escalations", {"task": "claim-next", "reason_code": "other", "reason": "x", "question": "y"}),
        ("alerts", {"task": "claim-next", "to": "all", "insight": "x"}),
    ]
    for path, body in bodies:
        reply = api.post(path, body)
        assert reply.refusal == (400, "invalid"), (path, reply)
        told |= {error["detail"] for error in reply.data["errors"]}
    for path in ("observations", "decisions", "learnings", "escalations", "facts", "search"):
        query = "?task=claim-next" + ("&q=x" if path == "search" else "")
        reply = api.get(path + query)
        assert reply.refusal == (400, "invalid"), (path, reply)
        told |= {error["detail"] for error in reply.data["errors"]}
    for verb in ("claim", "renew", "release", "complete", "fail", "reopen", "context"):
        method = "GET" if verb == "context" else "POST"
        reply = api.send(method, f"tasks/claim-next/{verb}", {})
        assert reply.refusal == (400, "invalid"), (verb, reply)
        told |= {error["detail"] for error in reply.data["errors"]}
    assert len(told) == 1, told
    batch = api.post("observations/batch", {"items": [{"task": "claim-next", "content": "x"}]})
    assert batch.data["results"][0]["error"]["status"] == 400


def test_a_reserved_key_of_a_fact_is_refused_alike_everywhere(api: Api) -> None:
    for method in ("GET", "PUT", "DELETE"):
        reply = api.send(method, "facts/read", {"value": 1}, headers={"If-None-Match": "*"} if method == "PUT" else {})
        assert reply.refusal == (400, "invalid"), (method, reply)
    assert api.get("facts/read/history").refusal == (400, "invalid")
    assert api.post("facts/read", {"keys": ["read"]}).refusal == (400, "invalid")
    assert api.send("PATCH", "facts/read", {}).status == 405


def test_keys_that_begin_like_a_reserved_one_are_keys(api: Api) -> None:
    for key in ("claim-next2", "claim", "read", "...", ".a", "-", "claim-next.", "reader"):
        assert api.post("tasks", {"key": key, "title": "T"}).status == 201, key
        assert api.get(f"tasks/{key}").status == 200, key
    for key in ("readme", "claim-next", "read.", "..."):
        assert api.send("PUT", f"facts/{key}", {"value": 1}, headers={"If-None-Match": "*"}).status == 201, key
        assert api.get(f"facts/{key}").data["value"] == 1


def test_an_unknown_address_reads_otherwise_than_a_hidden_row(api: Api) -> None:
    unknown = [api.get(path).data["detail"] for path in ("nope", "tasks/a/b", "facts/a/b", "observations/x", "tasks/")]
    hidden = [
        api.get(f"{noun}/0198c0de-0000-7000-8000-000000000000").data["detail"] for noun in ("decisions", "alerts")
    ]
    assert len(set(unknown)) == len(set(hidden)) == 1
    assert set(unknown).isdisjoint(hidden)


def test_an_unknown_task_says_how_it_is_made(api: Api) -> None:
    details = {
        api.get("tasks/none").data["detail"],
        api.post("tasks/none/claim").data["detail"],
        api.post("observations", {"task": "none", "content": "x"}).data["detail"],
        api.get("observations?task=none").data["detail"],
    }
    assert len(details) == 1
    assert "POST /api/v1/tasks" in details.pop()


def test_a_key_is_looked_at_first(team: Team) -> None:
    """Who has no key learns nothing of the form of an address."""
    for path in ("tasks/a%20b", "tasks/none", "facts/a/b"):
        assert Api(None).get(path).refusal == (401, "unauthorized")


@pytest.mark.parametrize("verb", ["complete", "fail"])
@pytest.mark.parametrize("outcome", ["Sent by mail.", {"parcel": 7}, None])
def test_an_outcome_is_a_text_or_an_object(api: Api, verb: str, outcome: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    token = api.make("tasks/t/claim")["token"]
    reply = api.post(f"tasks/t/{verb}", {"token": token, "outcome": outcome})
    assert (reply.status, reply.data["outcome"]) == (200, outcome)
    assert api.get("tasks/t").data["outcome"] == outcome


@pytest.mark.parametrize("outcome", ["", " \u200b", ["a"], 1, True, "x" * (256 * 1024 + 1)])
def test_an_outcome_is_nothing_else(api: Api, outcome: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    token = api.make("tasks/t/claim")["token"]
    assert api.post("tasks/t/complete", {"token": token, "outcome": outcome}).status == 400
