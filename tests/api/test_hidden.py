"""Non-interference, small (I11): what a low reader is answered is the same whether or not hidden rows exist."""

from typing import Any

from agents.models import Scope
from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.search.indexer import catch_up
from tests.support.api import Api, make_api
from tests.support.factories import make_person, make_team
from tests.support.facts import make
from tests.support.hidden import plain

HIGH = {"sensitivity": "confidential", "compartments": ["finance"]}
NONE = "0198c0de-0000-7000-8000-000000000000"


def make_world(team: Team, *, hidden: bool) -> tuple[Api, dict[str, str]]:
    """A low reader's small memory, when asked between hidden rows of every kind; the reader and the ids it knows."""
    low = make_api(team, name="low", scopes=Scope.values)
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="high")
    make_person(team, name="Ada")
    make_person(team, clearance=Sensitivity.CONFIDENTIAL, compartments=["finance"], name="Grace")
    make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="higher")
    high.get("me")  # that it was here is not hidden
    ids: dict[str, str] = {}
    hide(high, hidden, "before")
    low.make("tasks", {"key": "t", "title": "T"})
    low.make("tasks", {"key": "u", "title": "U"})
    ids["observation"] = low.make("observations", {"task": "t", "content": "seen", "tags": ["x"]})["id"]
    if hidden:
        high.make("tasks", {"key": "t", "title": "Twin", **HIGH})
        high.make("observations", {"task": "u", "content": "hidden", "tags": ["x"], "client_ref": "ref", **HIGH})
        high.make("observations", {"task": "u", "content": "reasoning", "private": True, "sensitivity": "internal"})
        old = high.make("decisions", {"task": "u", "decision": "d", "reasoning": "r", **HIGH})["id"]
        high.make(f"decisions/{old}/supersede", {"decision": "e", "reasoning": "r"})
        high.make(f"decisions/{old}/outcome", {"outcome": "failed", "note": "hidden"})
        high.make("tasks/t/claim?label=confidential%2Bfinance")
    low.make("observations", {"task": "u", "content": "more", "tags": ["x"]})
    ids["decision"] = low.make("decisions", {"task": "t", "decision": "d", "reasoning": "r", "action_key": "k"})["id"]
    make(low, "k", 1)
    make(low, "l", 1, task="u")
    if hidden:
        make(high, "k", 2, **HIGH)
        make(high, "hid", 2, task="u", **HIGH)
    low.make("learnings", {"signal_type": "pattern", "details": "seen", "context": {"a": "b"}})
    ids["escalation"] = low.make("escalations", {**ASKED, "task": "u"})["id"]
    hide(high, hidden, "after")
    return low, ids


ASKED = {"reason_code": "other", "reason": "r", "question": "q"}


def hide(high: Api, hidden: bool, key: str) -> None:
    if not hidden:
        return
    high.make("tasks", {"key": key, "title": "Hidden", **HIGH})
    high.make("observations", {"task": key, "content": "x", "tags": ["x"]})
    high.make("decisions", {"task": key, "decision": "x", "reasoning": "y", "action_key": key})
    make(high, key, 1, task=key)
    high.make("learnings", {"signal_type": "success", "details": "seen x", "context": {"a": "b"}, **HIGH})
    made = high.make("escalations", {"task": key, **ASKED, "client_ref": key})["id"]
    high.make(f"escalations/{made}/cancel", {"reason": "x"})
    high.make("alerts", {"to": ["higher"], "insight": "x", "task": key, "client_ref": key})
    high.make("alerts", {"to": ["higher"], "insight": "not for low"})


READS = [
    "me",
    "agents",
    "agents?limit=1",
    "tasks",
    "tasks?limit=1",
    "search?q=seen",
    "search?q=hidden",
    "search?q=hid",
    "search?q=more&limit=1",
    "tasks?q=hidden",
    "tasks?q=t",
    "tasks?status=escalated",
    "tasks?held_by=high",
    "tasks/t",
    "tasks/t?label=internal",
    "tasks/t?label=confidential%2Bfinance",
    "tasks/before",
    "observations",
    "observations?limit=1",
    "observations?tags=x",
    "observations?agent=high",
    "observations?exclude_own=true",
    "observations?task=u",
    "observations?task=before",
    "observations?task=none",
    "decisions",
    "decisions?limit=1",
    "decisions?agent=high",
    "decisions?task=after",
    "facts",
    "facts?limit=1",
    "facts?prefix=h",
    "facts?task=u",
    "facts?task=before",
    "facts/k",
    "facts/k?label=internal",
    "facts/k?label=confidential%2Bfinance",
    "facts/k?as_of_seq=9999",
    "facts/k/history",
    "facts/hid",
    "facts/hid/history",
    "facts/hid?as_of_time=2999-01-01T00:00:00Z",
    "decisions?status=superseded",
    "learnings",
    "learnings?limit=1",
    "learnings?signal_type=failure",
    "learnings?agent=high",
    "learnings?task=before",
    "escalations",
    "escalations?limit=1",
    "escalations?state=cancelled",
    "escalations?task=before",
    "escalations/{escalation}",
    "escalations/{escalation}/package",
    "escalations/{escalation}/package?limit=1",
    "alerts",
    "alerts?state=all",
    "alerts?sent=true",
    f"alerts/{NONE}",
    f"escalations/{NONE}",
    f"escalations/{NONE}/package",
    "insights",
    "insights?by=agent",
    "insights?by=agent,week",
]
WRITES: list[tuple[str, Any]] = [
    # Refused
    ("tasks/before/claim", {}),
    ("tasks/before/renew", {"token": 1}),
    ("tasks/before/complete", {"token": 1}),
    ("tasks/before/reopen", {"reason": "x"}),
    ("tasks/t/renew", {"token": 1}),
    ("tasks/t/claim?label=confidential%2Bfinance", {}),
    ("tasks", {"key": "before", "title": "x", **HIGH}),
    ("observations", {"task": "after", "content": "x"}),
    ("observations", {"content": "x", **HIGH}),
    ("decisions", {"task": "before", "decision": "x", "reasoning": "y"}),
    ("decisions", {"task": "t", "decision": "x", "reasoning": "y", "based_on": [NONE]}),
    ("decisions", {"task": "t", "decision": "x", "reasoning": "y", "action_key": "k"}),
    (f"decisions/{NONE}/supersede", {"decision": "x", "reasoning": "y"}),
    (f"decisions/{NONE}/revoke", {"reason": "x"}),
    (f"decisions/{NONE}/outcome", {"outcome": "worked"}),
    ("decisions/{decision}/supersede", {"decision": "x", "reasoning": "y", "based_on": [NONE]}),
    ("learnings", {"signal_type": "pattern", "details": "x", **HIGH}),
    ("escalations", {"task": "before", **ASKED}),
    ("escalations", {"task": "t", **ASKED, "assigned_to": "high"}),
    (f"escalations/{NONE}/acknowledge", {}),
    ("escalations/{escalation}/acknowledge", {}),
    ("alerts", {"to": ["nobody"], "insight": "x"}),
    ("alerts", {"to": {"group": "nobody"}, "insight": "x"}),
    ("alerts", {"to": ["high"], "insight": "x", "task": "before"}),
    ("alerts", {"to": ["high"], "insight": "x", **HIGH}),
    (f"alerts/{NONE}/acknowledge", {}),
    ("facts/read", {"keys": ["k", "hid", "before", "none"]}),
    # Done, where a hidden row has the same key
    ("alerts", {"to": "all", "insight": "x", "client_ref": "after"}),
    ("tasks", {"key": "t", "title": "x"}),
    ("tasks", {"key": "before", "title": "Mine", "client_ref": "ref"}),
    ("observations", {"content": "x", "client_ref": "ref"}),
    ("observations", {"task": "u", "content": "hidden", "dedupe": True}),
    ("observations/batch", {"items": [{"content": "x", "task": "after"}, {"content": "x", "task": "t"}]}),
    ("escalations", {"task": "before", **ASKED, "client_ref": "before"}),
    ("learnings", {"signal_type": "pattern", "details": "x", "client_ref": "ref"}),
    ("learnings/relevant", {"context": {"a": "b", "c": "d"}, "q": "seen"}),
    ("learnings/relevant", {"context": {"a": "b"}, "exclude_own": True}),
    ("decisions/{decision}/supersede", {"decision": {"a": "b"}, "reasoning": "y"}),
    ("decisions/{decision}/outcome", {"outcome": "failed"}),
    ("tasks/t/claim", {}),
    ("tasks/claim-next", {}),
    ("tasks/claim-next", {}),
]
# The tag is of no row that the reader may see.
PUTS: list[tuple[str, Any, dict[str, str]]] = [
    ("facts/hid", {"value": 1}, {"If-Match": f'"{NONE}.1"'}),
    ("facts/k", {"value": 1}, {"If-Match": f'"{NONE}.1"'}),
    ("facts/k", {"value": 1}, {"If-None-Match": "*"}),
    ("facts/k?label=confidential%2Bfinance", {"value": 1}, {"If-Match": f'"{NONE}.1"'}),
    ("facts/k?label=confidential%2Bfinance", {"value": 1}, {"If-None-Match": "*"}),
    ("facts/before", {"value": 1, "task": "before"}, {"If-None-Match": "*"}),
    ("facts/after", {"value": 1, "task": "t"}, {"If-None-Match": "*"}),
]


def test_a_low_readers_answers_do_not_depend_on_hidden_rows() -> None:
    answers = []
    for hidden in (False, True):
        team = make_team()
        low, ids = make_world(team, hidden=hidden)
        catch_up(team.id)
        told = [(f"GET {path}", low.get(path.format(**ids))) for path in READS]
        told += [(f"POST {path} {body}", low.post(path.format(**ids), body)) for path, body in WRITES]
        told += [(f"PUT {path} {sent}", low.send("PUT", path, body, headers=sent)) for path, body, sent in PUTS]
        catch_up(team.id)
        told += [(f"GET {path}, then", low.get(path.format(**ids))) for path in READS]
        for path, reply in told[: len(READS)]:
            page = reply
            while page.data.get("next"):  # to the end of every list
                page = low.get(page.data["next"])
                told.append((f"{path} …", page))
        answers.append([(name, plain(reply, team)) for name, reply in told])
    without, with_hidden = answers
    for one, other in zip(without, with_hidden, strict=True):
        assert one == other
    refused = [text for name, text in without if name.startswith("POST")]
    assert sum(text.startswith("[4") for text in refused) == 26


def test_the_comparison_sees_a_difference() -> None:
    """The control: the same world with one visible row more."""
    texts = []
    for extra in (False, True):
        team = make_team()
        low, _ = make_world(team, hidden=False)
        if extra:
            low.make("observations", {"content": "seen"})
        texts.append(plain(low.get("observations"), team))
    assert texts[0] != texts[1]
