"""The filters that the lists of memory rows share."""

from typing import Annotated, Literal

from memoryhub.core.fields import TaskKey, When
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.queries import Fraction, Name, PageQuery, Seq, Words, about
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.memories import MemoryFilters

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
    """The filters that all kinds of rows share. Raises NoSuchTask for an absent or hidden task."""
    filters = MemoryFilters(
        task=task_selectors.ref_by_key(viewer, query.task).id if query.task else None,
        task_key=query.task,
        agent=query.agent,
        exclude_agent=query.exclude_agent,
        exclude_own=query.exclude_own,
        since=query.since,
        until=query.until,
        after_seq=query.after_seq,
    )
    memories.narrow_since(viewer, filters)
    return filters
