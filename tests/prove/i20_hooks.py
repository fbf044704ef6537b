"""What schemathesis cannot know of our parameters. Read by it (SCHEMATHESIS_HOOKS), in its own process."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A cursor that fits its schema is forged all the same: 400, which tests/api/test_bad_requests.py wants.

    And nobody answers the escalations of this run, so that nothing is to be had by waiting a minute.
    """
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.query.pop("cursor", None)
        if "wait" in case.query:
            case.query["wait"] = 0
