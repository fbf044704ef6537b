"""A key that may write and not read is not told what others have stored, by any write; with both it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest

from memoryhub.core.access.permissions import VERBS
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, Reply, make_api
from tests.support.endpoints import WRITERS

CANARY = "kestrel"
KINDS = [["memory:write"], ["memory:write", "tasks", "escalations", "alerts", "insights:read", "import"]]


class Stored(NamedTuple):
    """What another agent has stored, all of it with the word."""

    observation: str
    decision: str
    etag: str


@pytest.fixture(params=["internal", "confidential"])
def stored(request: pytest.FixtureRequest, team: Team) -> Stored:
    owner = make_api(team, Sensitivity.CONFIDENTIAL)
    label = {"sensitivity": request.param}
    owner.make("tasks", {"key": "t", "title": CANARY, **label})
    seen = {"content": CANARY, "tags": [CANARY], "importance": 0.7, "client_ref": CANARY, "task": "t", **label}
    decided = {"decision": CANARY, "reasoning": CANARY, "action_key": CANARY, "client_ref": CANARY, "task": "t"}
    etag = owner.send("PUT", "facts/f", {"value": CANARY, "client_ref": CANARY, **label}, headers=NEW).headers["ETag"]
    observation = owner.make("observations", seen)["id"]
    decision = owner.make("decisions", {**decided, "based_on": [observation], **label})["id"]
    owner.make(f"decisions/{decision}/outcome", {"outcome": "failed", "note": CANARY})
    return Stored(observation, decision, etag)


NEW = {"If-None-Match": "*"}
OWN = {"task": "t", "decision": "mine", "reasoning": "Since.", "client_ref": "own", "action_key": "k"}


def stale(api: Api, stored: Stored) -> Reply:
    # The value itself is sent, too: a guess is neither confirmed nor denied.
    api.send("PUT", "facts/f", {"value": CANARY}, headers={"If-Match": stored.etag})
    return api.send("PUT", "facts/f", {"value": CANARY}, headers={"If-Match": stored.etag})


def repeat(api: Api, path: str, body: dict[str, Any], changed: dict[str, Any]) -> Reply:
    """The same client_ref again, with another text."""
    assert api.post(path, body).status == 201
    return api.post(path, {**body, **changed})


ABOUT_OTHERS: dict[str, Callable[[Api, Stored], Reply]] = {
    "observations/{seen}/pin": lambda api, stored: api.post(f"observations/{stored.observation}/pin"),
    "observations/{seen}/unpin": lambda api, stored: api.post(f"observations/{stored.observation}/unpin"),
    "decisions/{decided}/revoke": lambda api, stored: api.post(
        f"decisions/{stored.decision}/revoke", {"reason": "It was wrong."}
    ),
    "decisions/{decided}/outcome": lambda api, stored: api.post(
        f"decisions/{stored.decision}/outcome", {"outcome": "worked"}
    ),
    "decisions/{decided}/supersede": lambda api, stored: api.post(
        f"decisions/{stored.decision}/supersede", {"decision": "mine", "reasoning": "Since."}
    ),
    "decisions": lambda api, stored: api.post("decisions", {**OWN, "action_key": CANARY + "s"}),
    "observations": lambda api, stored: api.post("observations", {"content": "mine", "task": "t"}),
    "observations/batch": lambda api, stored: api.post("observations/batch", {"items": [{"content": "mine"}]}),
    "learnings": lambda api, stored: api.post("learnings", {"signal_type": "pattern", "details": "mine", "task": "t"}),
    "facts/{fact}": stale,
}


def told(reply: Reply) -> str:
    """The answer without what was sent and so may come back."""
    return orjson.dumps({name: value for name, value in reply.data.items() if name != "action_key"}).decode()


def test_every_write_of_the_memory_is_here() -> None:
    found = {
        door.path for door in WRITERS if "verb" in vars(door.view) and VERBS[door.view.verb].scope == "memory:write"
    }  # type: ignore[attr-defined]
    assert found == set(ABOUT_OTHERS)


@pytest.mark.parametrize("scopes", KINDS, ids=["alone", "with all others"])
@pytest.mark.parametrize("path", ABOUT_OTHERS)
def test_nothing_of_others_is_told(team: Team, stored: Stored, path: str, scopes: list[str]) -> None:
    writer = make_api(team, Sensitivity.CONFIDENTIAL, scopes=scopes)
    reply = ABOUT_OTHERS[path](writer, stored)
    assert reply.status in (200, 201, 412), reply
    assert CANARY not in told(reply)


@pytest.mark.parametrize(
    "path", [path for path in ABOUT_OTHERS if path.endswith(("pin", "revoke", "outcome", "{fact}"))]
)
def test_a_key_that_reads_is_told_all(team: Team, stored: Stored, path: str) -> None:
    both = make_api(team, Sensitivity.CONFIDENTIAL, scopes=["memory:read", "memory:write"])
    reply = ABOUT_OTHERS[path](both, stored)
    assert CANARY in told(reply)
    assert "omitted" not in told(reply)


def test_which_row_and_its_state_are_told_and_what_was_sent(team: Team, stored: Stored) -> None:
    writer = make_api(team, Sensitivity.CONFIDENTIAL, scopes=["memory:write"])
    pinned = writer.make(f"observations/{stored.observation}/pin")
    assert (pinned["id"], pinned["pinned"], pinned["content"], pinned["tags"]) == (stored.observation, True, None, [])
    assert (pinned["importance"], pinned["task"], pinned["omitted"]) == (None, None, ["memory:read"])
    judged = writer.make(f"decisions/{stored.decision}/outcome", {"outcome": "worked", "note": "It did."})
    assert (judged["outcome"], judged["outcome_note"], judged["status"]) == ("worked", "It did.", "active")
    assert (judged["decision"], judged["reasoning"], judged["based_on"]) == (None, "", [])
    revoked = writer.make(f"decisions/{stored.decision}/revoke", {"reason": "It was wrong."})
    assert (revoked["revoke_reason"], revoked["outcome"], revoked["status"]) == ("It was wrong.", None, "revoked")


def test_a_conflict_tells_which_version_is_the_newest_and_confirms_no_guess(team: Team, stored: Stored) -> None:
    writer = make_api(team, Sensitivity.CONFIDENTIAL, scopes=["memory:write"])
    reply = stale(writer, stored)
    assert reply.refusal == (412, "precondition_failed")
    for name, version in (("current", 2), ("expected", 1)):
        shown = reply.data[name]
        assert (shown["key"], shown["version"], shown["value"], shown["client_ref"]) == ("f", version, None, None)
    assert reply.headers["ETag"].strip('"').split(".")[1] == "2"
    # With it the write goes on.
    again = writer.send("PUT", "facts/f", {"value": 3, "ttl_seconds": 60}, headers={"If-Match": reply.headers["ETag"]})
    assert (again.status, again.data["value"], again.data["version"]) == (200, 3, 3)
    assert again.data["expires_at"] is not None
    gone = writer.send("DELETE", "facts/f", headers={"If-Match": reply.headers["ETag"]})
    assert (gone.status, gone.data["current"]["value"]) == (412, None)


def test_what_one_makes_is_answered_whole(team: Team, stored: Stored) -> None:
    writer = make_api(team, Sensitivity.CONFIDENTIAL, scopes=["memory:write"])
    body = {
        "content": {"a": [1.5, "ü"]},
        "tags": ["b", "a"],
        "importance": 0.1,
        "occurred_at": "2026-01-31T09:30:00.123456+02:00",
        "expires_at": "2999-01-31T09:30:00Z",
        "task": "t",
        "client_ref": "r",
    }
    made = writer.make("observations", body)
    assert "omitted" not in made
    assert {name: made[name] for name in body if not name.endswith("_at")} == {
        name: value for name, value in body.items() if not name.endswith("_at")
    }
    assert made["occurred_at"] == "2026-01-31T07:30:00.123456Z"
    own = writer.make("decisions", OWN)
    assert "omitted" not in own
    assert {name: own[name] for name in OWN} == OWN
    learned = writer.make("learnings", {"signal_type": "pattern", "details": "d", "context": {"a": 1}})
    assert ("omitted" in learned, learned["details"], learned["context"]) == (False, "d", {"a": 1})
    fact = writer.send("PUT", "facts/own", {"value": {"a": 1e2}, "task": "t"}, headers=NEW)
    assert (fact.status, "omitted" in fact.data, fact.data["value"]) == (201, False, {"a": 100})


def test_a_repeated_write_does_not_tell_what_became_of_it(team: Team, stored: Stored) -> None:
    writer = make_api(team, Sensitivity.CONFIDENTIAL, scopes=["memory:write"])
    other = make_api(team, Sensitivity.CONFIDENTIAL)
    made = writer.post("decisions", OWN, key="k")
    other.make(f"decisions/{made.data['id']}/outcome", {"outcome": "failed", "note": CANARY})
    other.make(f"decisions/{made.data['id']}/revoke", {"reason": CANARY})
    for again in (writer.post("decisions", OWN, key="k"), writer.post("decisions", OWN)):
        assert (again.data["id"], again.data["decision"], again.data["status"]) == (made.data["id"], "mine", "revoked")
        assert (again.data["outcome"], again.data["omitted"]) == (None, ["memory:read"])
        assert CANARY not in told(again)
    # With another text under the same client_ref: which row it is, and not what it says.
    differs = repeat(writer, "observations", {"content": "first", "client_ref": "r"}, {"content": "second"})
    assert (differs.status, differs.data["content"], differs.data["duplicate"]) == (200, None, True)
