"""What schemathesis cannot know of our bodies and parameters. Read by it (SCHEMATHESIS_HOOKS), in its own process."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A case that is meant to be good is made so, where no schema can say what is: each is refused elsewhere by name.

    A cursor that fits its schema is forged all the same (tests/api/test_bad_requests.py). Nobody answers the
    escalations of this run, so nothing is to be had by waiting a minute. Numbers: see plain().
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    case.query.pop("cursor", None)
    if "wait" in case.query:
        case.query["wait"] = 0
    case.body = plain(case.body)


def plain(node: Any) -> Any:
    """Without 1.0 for 1, which is an integer for JSON Schema and none here, and without numbers that are not kept."""
    if isinstance(node, dict):
        return {name: plain(value) for name, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if isinstance(node, bool) or not isinstance(node, int | float):
        return node
    if node and not 1e-100 <= abs(node) <= 2**53:
        return 1
    return int(node) if node == int(node) else node
