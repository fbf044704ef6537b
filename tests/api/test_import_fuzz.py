"""Generated runs: whatever their messages hold, an import keeps it or refuses the run, and says where."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from memoryhub.core.models import Team
from tests.support.api import Api, make_api
from tests.support.factories import unique
from tests.support.recorded import lacking, rows_of

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["get_x", "book", "think", "transfer_to_human_agents"])
IDS = st.sampled_from(["a1", "b2", "c3"])
ARGUMENTS = VALUES.map(json.dumps) | TEXTS | VALUES


def objects(more: dict[str, Any] | None = None, **members: Any) -> st.SearchStrategy[Any]:
    kinds = {name: kind if isinstance(kind, st.SearchStrategy) else st.just(kind) for name, kind in members.items()}
    return st.fixed_dictionaries(kinds, optional=more or {})


TEXT_PARTS = objects(type="text", text=TEXTS)
PARTS = st.one_of(
    TEXT_PARTS,
    objects(type="tool_use", id=IDS, name=NAMES, input=VALUES),
    objects(
        {"content": TEXTS | st.lists(TEXT_PARTS, max_size=2) | VALUES, "is_error": VALUES, "x": VALUES},
        type="tool_result",
        tool_use_id=IDS,
    ),
    objects(type="thinking", thinking=TEXTS, signature=TEXTS),
    VALUES,
)
FUNCTIONS = objects({"arguments": ARGUMENTS, "strict": VALUES}, name=NAMES)
CALLS = st.one_of(
    objects({"id": IDS, "index": VALUES, "type": st.just("function")}, function=FUNCTIONS),
    objects(type="custom", id=IDS, custom=objects(name=NAMES, input=TEXTS)),
    VALUES,
)
MESSAGES = objects(
    {
        "content": st.none() | TEXTS | st.lists(PARTS, max_size=4) | st.dictionaries(TEXTS, VALUES, max_size=2),
        "tool_calls": st.lists(CALLS, max_size=3) | VALUES,
        "function_call": VALUES | FUNCTIONS,
        "tool_call_id": IDS | VALUES,
        "name": NAMES | VALUES,
        "refusal": VALUES,
        "reasoning": VALUES,
        "timestamp": st.integers(0, 10**9) | VALUES,
        "part": VALUES,
        "unknown": VALUES,
    },
    role=st.sampled_from(["user", "assistant", "tool", "function", "system", "critic x"]),
)


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, scopes=["import", "tasks", "memory:read", "escalations"])


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4))
def test_whatever_messages_hold_is_kept_or_the_run_refused(api: Api, messages: list[Any]) -> None:
    key = unique("run")
    reply = api.post("import/trajectories", {"runs": [{"task_id": key, "messages": messages}]})
    (result,) = reply.data["results"]
    event(result["status"])
    if result["status"] == "error":
        assert result["error"]["errors"][0]["pointer"].startswith("/runs/0/messages/")
        return
    rows = rows_of(api, key)
    assert lacking(messages, rows, anywhere=True) == []
    assert len({row.ref for row in rows}) == len(rows)
