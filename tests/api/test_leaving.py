"""Who leaves in the middle of a long loop of Python stops it there: each such loop asks between its items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents.models import DEFAULT_SCOPES
from memoryhub.core.models import Team
from memoryhub.core.work import doing
from memoryhub.memory.search.indexer import catch_up
from tests.support.api import Api, Reply, make_api
from tests.support.desk_world import browser_of
from tests.support.factories import make_person
from tests.support.facts import make
from tests.support.leaving import Counting

MANY = 24


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, scopes=[*DEFAULT_SCOPES, "import", "insights:read"])


def fill(api: Api) -> None:
    """MANY rows of each kind that a loop goes over."""
    api.make("tasks", {"key": "t", "title": "T"})
    item = {"content": "a red kestrel", "task": "t"}
    api.make("observations/batch", {"items": [item] * MANY})
    for number in range(MANY):
        make(api, f"f{number}", number)
        api.make("learnings", {"signal_type": "success", "details": f"n{number}", "context": {"kind": "mail"}})
    assert api.agent is not None
    catch_up(api.agent.membership.team_id)


SCHEMA = {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}] * MANY}}}
ACTION = {"name": "n", "arguments": {"a": "x"}, "schema": SCHEMA}
ASKED = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
TURNS = [{"role": "assistant", "tool_calls": [{"function": {"name": "send_mail"}, "id": str(n)}]} for n in range(MANY)]
LONG: dict[str, Callable[[Api], Reply]] = {
    "a batch": lambda api: api.post("observations/batch", {"items": [{"content": "new"}] * MANY}),
    "a body of many parts": lambda api: api.post("observations", {"content": {"a": [[]] * 1024 * MANY}}),
    "a page": lambda api: api.get("observations?limit=100"),
    "facts": lambda api: api.post("facts/read", {"keys": [f"f{number}" for number in range(MANY)]}),
    "learnings": lambda api: api.post("learnings/relevant", {"context": {"kind": "mail"}, "limit": 100}),
    "context": lambda api: api.get("tasks/t/context"),
    "search": lambda api: api.get("search?q=kestrel&limit=100"),
    "a phrase": lambda api: api.get("search?q=%22red+kestrel%22&limit=100"),
    "insights": lambda api: api.get("insights?by=week&format=csv&from=2026-01-01T00:00:00Z&to=2026-12-01T00:00:00Z"),
    "a schema": lambda api: api.post("escalations", {**ASKED, "allowed": ["edit"], "action": ACTION}),
    "a run": lambda api: api.post("import/trajectories", {"runs": [{"task_id": "run", "messages": TURNS}]}),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_loop_asks_between_its_items_and_stops_when_nobody_waits(api: Api, name: str, owner_sql: Any) -> None:
    fill(api)

    def stored() -> list[Any]:
        assert api.agent is not None
        team = [api.agent.membership.team_id]
        return owner_sql.execute("select count(*) from event where team_id = %s", team).fetchall()  # type: ignore[no-any-return]

    before = stored()
    with doing(leaving := Counting(MANY // 2)):
        reply = LONG[name](api)
    assert reply.refusal == (503, "unavailable")
    assert leaving.asked <= MANY // 2 + 3, "it stopped there"
    assert stored() == before, "a write was undone as a whole"
    # The control: who stays is answered, and was asked for at each item.
    with doing(staying := Counting()):
        reply = LONG[name](api)
    assert reply.status in (200, 201)
    assert staying.asked >= MANY


def test_a_page_of_the_desk_with_much_in_it_stops_likewise(api: Api, team: Team) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    content = {f"m{number}": {"a": 1, "b": 2} for number in range(MANY)}
    api.make("observations/batch", {"items": [{"content": content, "task": "t"}] * 3})
    row = api.make("escalations", ASKED)
    browser = browser_of(make_person(team))
    address = f"/escalations/{row['id']}/timeline/"
    with doing(leaving := Counting(MANY)):
        assert browser.get(address).status_code == 503
    assert leaving.asked <= MANY + 3
    with doing(staying := Counting()):
        assert browser.get(address).status_code == 200
    assert staying.asked >= 3 * MANY
