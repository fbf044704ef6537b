"""The product's settings, and the outbox handlers of the tests, by the names `trial.…`."""

from memoryhub.config import reactions
from memoryhub.config.settings import *  # noqa: F403

_NAMES = ("leave_a_mark", "fail", "fail_twice", "prolong", "only_the_newest", "leave_a_mark_slowly")
HANDLERS = {**reactions.HANDLERS, **{f"trial.{name}": f"tests.support.handlers.{name}" for name in _NAMES}}
OUTBOX_HANDLERS = "tests.settings.HANDLERS"
