"""Escalations over the API: asked, shown, and answered as the agent is sent it."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from escalations.selectors.escalations import answer_of
from memoryhub.core.errors import Conflict, NotAllowed
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.json import dump
from tests.support.api import Api

ACTION = {"name": "refund", "arguments": {"order": "o-1", "amount": 12.5}}


def escalate(api: Api, *allowed: str, task: str = "t", **fields: Any) -> UUID:
    """Ask for a person; what is to be approved or edited is ACTION."""
    asked = {"task": task, "reason_code": "other", "reason": "No rule.", "question": "What now?", **fields}
    if allowed:
        asked["allowed"] = list(allowed)
    if {"approve", "edit"} & set(allowed):
        asked.setdefault("action", ACTION)
    return UUID(api.make("escalations", asked)["id"])


def shown(api: Api, row: UUID) -> Any:
    return api.get(f"escalations/{row}").data


def answer(api: Api, row: UUID) -> Any:
    """As it is sent: None for 204."""
    assert api.agent is not None
    with viewer_transaction(api.agent.viewer, read_only=True):
        return json.loads(dump(answer_of(api.agent.viewer, row)))


def refusal(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and code with which a person's action is refused."""
    with pytest.raises((Conflict, NotAllowed)) as caught:
        call()
    return caught.value.status, str(caught.value.code)
