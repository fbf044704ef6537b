"""A package may be read whole in one page, and a page that would be too much ends sooner."""

from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, make_api

ASKED = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}


@pytest.fixture
def full(api: Api) -> tuple[Api, str, list[str]]:
    """A task with 700 observations and 60 decisions between them, escalated: the ids, newest first."""
    api.make("tasks", {"key": "t", "title": "T"})
    ids: list[str] = []
    for number in range(20):
        items = [{"task": "t", "content": f"{number}.{place}"} for place in range(35)]
        ids += [result["id"] for result in api.make("observations/batch", {"items": items})["results"]]
        for _ in range(3):
            ids.append(api.make("decisions", {"task": "t", "decision": "d", "reasoning": "r"})["id"])
    escalation = api.make("escalations", ASKED)["id"]
    return api, f"escalations/{escalation}/package", ids[::-1]


def ids_of(page: Any) -> list[str]:
    context = page["full_context"]
    return sorted((row["id"] for noun in ("observations", "decisions") for row in context[noun]), reverse=True)


def pages(api: Api, path: str | None, direction: str = "next") -> list[list[str]]:
    found = []
    while path:
        reply = api.get(path)
        assert reply.status == 200, reply
        found.append(ids_of(reply.data))
        path = reply.data[direction]
    return found


def test_pages_of_any_size_have_every_row_once_and_in_order(full: tuple[Api, str, list[str]]) -> None:
    api, path, ids = full
    for limit in (1_000, 760, 759, 400, 251, 250, 100):
        found = pages(api, f"{path}?limit={limit}")
        assert [one for page in found for one in page] == ids, limit
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert len(pages(api, f"{path}?limit=10000")) == 1


def test_backwards_as_forwards(full: tuple[Api, str, list[str]]) -> None:
    api, path, ids = full
    last = f"{path}?limit=300"
    while (following := api.get(last).data["next"]) is not None:
        last = following
    found = pages(api, last, "previous")
    assert [one for page in found[::-1] for one in page] == ids


def test_a_page_ends_before_it_is_too_much(api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    big = {"task": "t", "content": "x" * 200_000}
    ids: list[str] = []
    for _ in range(3):
        made = api.make("observations/batch", {"items": [big] * 20})
        ids += [result["id"] for result in made["results"]]
    escalation = api.make("escalations", ASKED)["id"]
    found = pages(api, f"escalations/{escalation}/package?limit=10000")
    assert [one for page in found for one in page] == ids[::-1]
    assert [len(page) for page in found] == [40, 20]


def test_what_is_sealed_counts_as_well(team: Team) -> None:
    api = make_api(team, Sensitivity.CONFIDENTIAL)
    api.make("tasks", {"key": "t", "title": "T", "sensitivity": "confidential"})
    for _ in range(3):
        api.make("observations/batch", {"items": [{"task": "t", "content": "x" * 200_000}] * 20})
    escalation = api.make("escalations", ASKED)["id"]
    assert [len(page) for page in pages(api, f"escalations/{escalation}/package?limit=10000")] == [40, 20]


def test_ten_thousand_is_the_most(full: tuple[Api, str, list[str]]) -> None:
    api, path, _ = full
    assert api.get(f"{path}?limit=10001").refusal == (400, "invalid")
    assert api.get("observations?limit=101").refusal == (400, "invalid")
