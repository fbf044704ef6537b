"""What the lists of the memory's rows have in common: their filters."""

from typing import Annotated, Literal

from memoryhub.core.fields import TaskKey, When
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.queries import Fraction, Name, PageQuery, Seq, Words, about
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors
from memoryhub.memory.selectors.memories import MemoryFilters

Agent = Annotated[Name | None, about("Only what this agent, or person, wrote; by name.")]
OfTask = Annotated[TaskKey | None, about("Only of this task; 404 when there is none that one may see.")]
ExcludeOwn = Annotated[bool, about("Nothing of one's own.")]
AfterSeq = Annotated[Seq | None, about("Only rows whose `seq` is greater.")]
Since = Annotated[When | None, about("Only what was written at this time or later.")]
Tags = Annotated[Words | None, about("Only what has these tags, repeated, or with commas between.")]
TagsMode = Annotated[Literal["all", "any"], about("All of the tags, or any.")]
MinImportance = Annotated[
    Fraction | None, about("Only what is at least this important: a number from 0 to 1, in decimal digits.")
]
Until = Annotated[When | None, about("Only what was written before this time.")]


class MemoryQuery(PageQuery, kw_only=True):
    task: OfTask = None
    agent: Agent = None
    exclude_agent: Annotated[Name | None, about("Nothing of this agent's, or person's; by name.")] = None
    exclude_own: ExcludeOwn = False
    since: Since = None
    until: Until = None
    after_seq: AfterSeq = None


def filters_of(viewer: Viewer, query: MemoryQuery) -> MemoryFilters:
    """The filters that all kinds of rows share. Raises NoSuchTask for a task that is hidden."""
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
