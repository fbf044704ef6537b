"""The filters that the lists of memory rows share."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from memoryhub.core.fields import TaskKey, When
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.queries import Fraction, Name, PageQuery, Query, Seq, Words, about
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.memories import MemoryFilters

F = TypeVar("F", bound=msgspec.Struct)

Agent = Annotated[Name | None, about("Only rows that this agent or person wrote, by name.")]
OfTask = Annotated[TaskKey | None, about("Only rows of this task; 404 when it is absent or hidden.")]
ExcludeOwn = Annotated[bool, about("Leave out your own rows.")]
AfterSeq = Annotated[Seq | None, about("Only rows with a greater `seq`.")]
Since = Annotated[When | None, about("Only rows written at this time or later.")]
Tags = Annotated[Words | None, about("Only rows with these tags, repeated or comma-separated.")]
TagsMode = Annotated[Literal["all", "any"], about("Whether all of the tags are needed, or any.")]
MinImportance = Annotated[
    Fraction | None, about("Only rows of at least this importance: a number from 0 to 1, in decimal digits.")
]
Until = Annotated[When | None, about("Only rows written before this time.")]


class MemoryQuery(PageQuery, kw_only=True):
    task: OfTask = None
    agent: Agent = None
    exclude_agent: Annotated[Name | None, about("Leave out rows of this agent or person, by name.")] = None
    exclude_own: ExcludeOwn = False
    since: Since = None
    until: Until = None
    after_seq: AfterSeq = None


def filters_of(viewer: Viewer, query: MemoryQuery) -> MemoryFilters:
    """The filters of a list of rows. Raises NoSuchTask for an absent or hidden task."""
    task = task_selectors.ref_by_key(viewer, query.task).id if query.task else None
    filters = filters_from(query, MemoryFilters, task=task, task_key=query.task)
    memories.narrow_since(viewer, filters)
    return filters


def filters_from(query: Query, kind: type[F], **given: Any) -> F:
    """A selector's filters: those `given`, and the parameters of the same names that were sent."""
    sent = {name: getattr(query, name, None) for name in kind.__struct_fields__}
    return kind(**{name: value for name, value in sent.items() if value is not None} | given)
