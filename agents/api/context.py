"""/api/v1/tasks/{key}/context: what an agent that picks up a task should know, within a budget of tokens."""

from typing import Annotated

from msgspec import Meta

from agents.api.doors import ReadEndpoint, label_text
from agents.api.memories import AfterSeq, ExcludeOwn, Tags, TagsMode, filters_from
from memoryhub.interface.http.queries import LabelQuery, about
from memoryhub.memory.schemas.context import Context
from memoryhub.memory.selectors import context, facts, learnings, memories
from memoryhub.memory.selectors import tasks as task_selectors


class ContextQuery(LabelQuery, kw_only=True):
    tags: Tags = None
    tags_mode: TagsMode = "all"
    exclude_own: ExcludeOwn = False
    after_seq: AfterSeq = None
    budget: Annotated[
        int,
        Meta(ge=context.MIN_BUDGET, le=context.MAX_BUDGET),
        about("The maximum number of tokens in the response, as estimated by the server."),
    ] = context.DEFAULT_BUDGET


class TaskContext(ReadEndpoint):
    """Read the most useful rows of a task that fit into `budget` tokens, and how many were left out.

    What people have said comes first (up to a quarter of the budget), then active decisions, pinned observations,
    facts, important observations, relevant learnings, and the newest observations. Reads one snapshot; takes no locks.
    """

    address = "tasks/<task_key:key>/context"

    def read(self, key: str, query: ContextQuery) -> Context:
        viewer = self.viewer
        task = task_selectors.by_key(viewer, key, label_text(query.label))
        filters = filters_from(query, memories.MemoryFilters, task=task.id, task_key=task.key)
        memories.narrow_since(viewer, filters)
        about_task = task.read()
        found = learnings.relevant(
            viewer,
            about_task.get("metadata", {}),
            text=about_task.get("title", ""),
            exclude_own=filters.exclude_own,
            limit=context.LEARNINGS,
            most_bytes=context.MOST_BYTES,
        )
        of_task = facts.FactFilters(task=task.id)
        known = facts.page(
            viewer, of_task, position=None, backwards=False, limit=context.CANDIDATES, most_bytes=context.MOST_BYTES
        )
        return context.of_task(viewer, filters, facts=known, learnings=found, budget=query.budget)
