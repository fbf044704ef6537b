"""The registry of the memory's kinds of rows: one entry per kind.

Search and its index, packages, contexts, timelines, the counts of withheld items and the tests' tables read KINDS.
Another app registers its own kinds in AppConfig.ready(); nothing here imports them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from memoryhub.core.db.fitting import Fitted
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.decisions import Decision
from memoryhub.memory.schemas.facts import Fact
from memoryhub.memory.schemas.learnings import Learning
from memoryhub.memory.schemas.observations import Observation
from memoryhub.memory.schemas.rows import Row, Stored
from memoryhub.memory.selectors import facts, memories

ByIds = Callable[[Viewer, Sequence[UUID], int], Fitted[Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of row. `name`: its table, the `row_type` of its events, its type in search.

    `plural`: its member in a context and a package. `searched`: the members of the answer whose words are indexed.
    `by_ids`: reads the rows of these ids that the viewer may see, up to a number of bytes. `in_package`: whether a
    package pages through its rows, newest first (other kinds are there whole, or not at all). `on_timeline`: whether
    its rows are items of a task's timeline, announced by events of its name. `in_words`: what people have said: its
    rows are whole in a package and first in a context, in at most a quarter of either. `made_by`: the `row_type` of the
    events that make its rows, where it is not `name`. `withheld`: the table whose rows above a person's clearance are
    counted (core.access.rls.count_withheld).
    """

    name: str
    plural: str
    schema: type[Row]
    searched: tuple[str, ...]
    by_ids: ByIds
    in_package: bool = False
    on_timeline: bool = False
    phrase: str = ""
    in_words: bool = False
    made_by: str = ""
    withheld: str | None = None

    @property
    def events(self) -> str:
        """The `row_type` of the events that make its rows."""
        return self.made_by or self.name


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Register a kind. Raises ValueError when another kind has its name."""
    if KINDS.setdefault(kind.name, kind) != kind:
        raise ValueError(f"a kind {kind.name} is already registered")


def kind_of(row: Row) -> Kind:
    """The kind of a row. Raises StopIteration when no kind has its schema."""
    return next(kind for kind in KINDS.values() if kind.schema is type(row))


def by_ids(schema: type[Row]) -> ByIds:
    """The `by_ids` of a kind that memories.rows() reads."""
    return partial(_by_ids, schema)


def _by_ids(schema: type[Row], viewer: Viewer, ids: Sequence[UUID], most_bytes: int) -> Fitted[Stored[Any]]:
    filters = memories.MemoryFilters(ids=ids)
    return memories.rows(viewer, schema, filters, limit=len(ids), most_bytes=most_bytes)


def _facts_by_ids(viewer: Viewer, ids: Sequence[UUID], most_bytes: int) -> Fitted[Any]:
    return facts.live(viewer, ids, most_bytes=most_bytes)


register(
    Kind(
        "observation",
        "observations",
        Observation,
        searched=("content",),
        by_ids=by_ids(Observation),
        in_package=True,
        on_timeline=True,
        phrase="observed",
        withheld="observation",
    )
)
register(
    Kind(
        "decision",
        "decisions",
        Decision,
        searched=("decision", "reasoning", "revoke_reason", "outcome_note"),
        by_ids=by_ids(Decision),
        in_package=True,
        on_timeline=True,
        phrase="decided",
        withheld="decision",
    )
)
register(Kind("fact", "facts", Fact, searched=("key", "value"), by_ids=_facts_by_ids, withheld="fact_version"))
register(
    Kind(
        "learning",
        "learnings",
        Learning,
        searched=("details", "context"),
        by_ids=by_ids(Learning),
        withheld="learning",
    )
)
