"""A task's context, as it is returned."""

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
    """How many rows found no room. `at_least`: there are more than were counted."""

    count: int
    at_least: bool


@cache
def context_schema() -> type[msgspec.Struct]:
    """The schema of a context, of the kinds that there are."""
    words = [(kind.plural, list[kind.schema]) for kind in KINDS.values() if kind.in_words]  # type: ignore[name-defined]
    about = (
        "What of a task fits into `budget` tokens; what people have said comes first, in a quarter of it at most."
        " `tokens`: an estimate, a third of the bytes of the rows' JSON."
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
