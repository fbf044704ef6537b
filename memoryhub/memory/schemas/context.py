"""A task's context: response schema."""

from functools import cache
from typing import Annotated, Any

import msgspec

from memoryhub.core.fields import Derived, Schema
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.decisions import Decision
from memoryhub.memory.schemas.facts import Fact
from memoryhub.memory.schemas.learnings import RelevantLearning
from memoryhub.memory.schemas.observations import Observation


class LeftOut(Schema):
    """How many rows did not fit. `at_least`: there are more than `count`."""

    count: int
    at_least: bool


@cache
def context_schema() -> type[msgspec.Struct]:
    """The schema of a context, from the registered kinds."""
    words = [(kind.plural, list[kind.schema]) for kind in KINDS.values() if kind.in_words]  # type: ignore[name-defined]
    about = (
        "What of a task's memory fits into `budget` tokens; what people said comes first, in at most a quarter of it."
        " `tokens`: an estimate, one third of the bytes of the rows' JSON."
    )
    return msgspec.defstruct(
        "Context",
        [
            *words,
            ("decisions", list[Decision]),
            ("observations", list[Observation]),
            ("facts", list[Fact]),
            ("learnings", list[RelevantLearning]),
            ("budget", int),
            ("tokens", int),
            ("left_out", dict[str, LeftOut]),
        ],
        bases=(Schema,),
        namespace={"__doc__": about},
    )


Context = Annotated[Any, Derived(context_schema)]
