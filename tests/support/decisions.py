"""Decisions over the API: recorded, superseded, revoked and judged, always with the same words."""

from typing import Any

from tests.support.api import Api, Reply, make_api
from tests.support.factories import make_team

NEW = {"decision": {"do": "replace"}, "reasoning": "It was lost twice."}
WHY = {"reason": "It was the wrong order."}


def decide(api: Api, task: str = "t", **fields: Any) -> Reply:
    return api.post("decisions", {"task": task, "decision": {"do": "refund"}, "reasoning": "It is due.", **fields})


def supersede(api: Api, old: str, **fields: Any) -> Reply:
    return api.post(f"decisions/{old}/supersede", {**NEW, **fields})


def revoke(api: Api, row: str) -> Reply:
    return api.post(f"decisions/{row}/revoke", WHY)


def judge(api: Api, row: str, outcome: str = "worked", **fields: Any) -> Reply:
    return api.post(f"decisions/{row}/outcome", {"outcome": outcome, **fields})


def make_stranger() -> Api:
    """An agent of another team, which has a task `t` as well."""
    stranger = make_api(make_team())
    stranger.make("tasks", {"key": "t", "title": "T"})
    return stranger
