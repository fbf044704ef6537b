"""What schemathesis cannot know of our bodies and parameters. Read by it (SCHEMATHESIS_HOOKS), in its own process."""

import re
from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any

import schemathesis

TIME = re.compile(r"(\d{4})(-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d:\d\d)")
Members = MutableMapping[str, Any]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A case that is meant to be good is made so, where no schema can say what is: each is refused elsewhere by name.

    A cursor that fits its schema is forged all the same (tests/api/test_bad_requests.py). Nobody answers the
    escalations of this run, so nothing is to be had by waiting a minute. Numbers and times: see plain(). What one
    member says of another: see RULES.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    case.query.pop("cursor", None)
    if "wait" in case.query:
        case.query["wait"] = 0
    for name, value in case.query.items():
        case.query[name] = plain(value)
    body = plain(case.body) if isinstance(case.body, dict) else {}
    if rule := RULES.get(case.operation.label):
        rule(case.query, case.headers, body)
    if isinstance(case.body, dict):  # an absent body is a bad one to schemathesis, once it was set
        case.body = body


def plain(node: Any) -> Any:
    """Without what is valid for JSON Schema and refused here.

    That is 1.0 for 1, numbers that are not kept, offsets beyond 14 hours, and years that leave 1 to 9999 in UTC.
    """
    if isinstance(node, dict):
        return {name: plain(value) for name, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if isinstance(node, str):
        return _plain_time(node)
    if isinstance(node, bool) or not isinstance(node, int | float):
        return node
    if node and not 1e-100 <= abs(node) <= 2**53:
        return 1
    return int(node) if node == int(node) else node


def _plain_time(text: str) -> str:
    if not (found := TIME.fullmatch(text)):
        return text
    year, rest, offset = found.groups()
    far = offset != "Z" and int(offset[1:3]) >= 14
    return {"0001": "0003", "9999": "9997"}.get(year, year) + rest + ("Z" if far else offset)


def _alert(query: Members, headers: Members, body: Members) -> None:
    """An expiry lies ahead."""
    if body.get("expires_at") is not None:
        body["expires_at"] = "2999-01-31T09:30:00Z"


def _observation(query: Members, headers: Members, body: Members) -> None:
    """An expiry lies ahead; a token is of a task."""
    _alert(query, headers, body)
    if body.get("task") is None:
        body.pop("token", None)


def _escalation(query: Members, headers: Members, body: Members) -> None:
    """What is approved or edited is an action."""
    if body.get("action") is None:
        body["allowed"] = ["respond"]


def _fact(query: Members, headers: Members, body: Members) -> None:
    """Made or changed; one label; valid from before until then.

    Where schemathesis finds no good value for an optional header, its cases of a good body bring a bad one.
    """
    if "If-None-Match" in headers or not str(headers.get("If-Match")).startswith('"'):
        headers.pop("If-Match", None)
    if "sensitivity" in body or "compartments" in body:
        query.pop("label", None)
    if "If-Match" in headers:
        body.pop("sensitivity", None)
        body.pop("compartments", None)
    if body.get("valid_from") is not None:
        body.pop("valid_to", None)


def _reading(query: Members, headers: Members, body: Members) -> None:
    """As of a time, or of a seq."""
    if "as_of_seq" in query:
        query.pop("as_of_time", None)


def _insights(query: Members, headers: Members, body: Members) -> None:
    """A period has an end, after it begins and within two years."""
    if "from" in query:
        query["to"] = (datetime.fromisoformat(query["from"]) + timedelta(weeks=12)).isoformat()


RULES: dict[str, Callable[[Members, Members, Members], None]] = {
    "POST /api/v1/alerts": _alert,
    "POST /api/v1/observations": _observation,
    "POST /api/v1/escalations": _escalation,
    "GET /api/v1/facts/{key}": _reading,
    "PUT /api/v1/facts/{key}": _fact,
    "GET /api/v1/insights": _insights,
}
