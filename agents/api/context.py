"""/api/v1/tasks/{key}/context: what an agent that takes a task up should know, within a budget of tokens."""

from typing import Any, ClassVar

from agents.api.doors import Answer, Reading
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.memory import answers
from memoryhub.memory.selectors import context, facts, learnings, memories
from memoryhub.memory.selectors import tasks as task_selectors


class TaskContext(Reading):
    """The most useful rows of a task that fit into `budget` tokens, and how many were left out.

    Active decisions first, then what is pinned, facts, what is important, relevant learnings, and the newest
    observations; each kind in the order of its use. It is one snapshot, and waits for nobody.
    """

    shows = answers.Context
    parameters: ClassVar[frozenset[str]] = frozenset(
        {"tags", "tags_mode", "exclude_own", "after_seq", "budget", "label"}
    )

    def read(self, **url: Any) -> Answer:
        viewer, params = self.viewer, self.params
        budget = params.integer("budget", low=context.MIN_BUDGET, high=context.MAX_BUDGET) or context.DEFAULT_BUDGET
        task = task_selectors.by_key(viewer, url["key"], self.label_param())
        filters = memories.Filters(
            task=task.id,
            task_key=task.key,
            tags=params.words("tags") or (),
            tags_mode=params.choice("tags_mode", ("all", "any")) or "all",
            exclude_own=params.boolean("exclude_own") or False,
            after_seq=params.integer("after_seq"),
        )
        memories.narrow_since(viewer, filters)
        about = read_text(task, "task")
        found = learnings.relevant(
            viewer,
            about.get("metadata", {}),
            text=about.get("title", ""),
            exclude_own=filters.exclude_own,
            limit=context.LEARNINGS,
            most_bytes=context.MOST_BYTES,
        )
        of_task = facts.Filters(task=task.id)
        known = facts.page(
            viewer, of_task, position=None, backwards=False, limit=context.CANDIDATES, most_bytes=context.MOST_BYTES
        )
        return Answer(context.of_task(viewer, filters, facts=known, learnings=found, budget=budget))
