"""/api/v1/tasks: the work, and who holds its lease."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from agents.api.doors import Changed, Kept, Made, ReadEndpoint, WriteEndpoint, label_text, room
from memoryhub.core.errors import PreconditionFailed
from memoryhub.core.fields import Content, JsonObject, Schema, Shape, Text, Token
from memoryhub.core.transactions import Question
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.etags import if_match
from memoryhub.interface.http.json import format_when
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.queries import LabelQuery, Name, PageQuery, about
from memoryhub.memory import models
from memoryhub.memory.actions import leases, tasks
from memoryhub.memory.schemas.tasks import Lease, NewTask, Task, TaskChange
from memoryhub.memory.selectors import tasks as selectors
from memoryhub.memory.selectors.tasks import Ref, StoredTask, TaskFilters

Seconds = Annotated[int, Meta(ge=1, le=3600)]


class TaskQuery(PageQuery, kw_only=True):
    status: Annotated[models.TaskStatus | None, about("Only tasks in this status.")] = None
    held_by: Annotated[Name | None, about("Only tasks under a live lease of this agent or person, by name.")] = None
    q: Annotated[str | None, Meta(max_length=200), about("Only tasks with this text in key or title.")] = None


class TaskEndpoint(WriteEndpoint):
    """A verb on a task; it returns the task."""

    def row(self, result: Any) -> Question[StoredTask]:
        return selectors.one(self.viewer, result)


class Tasks(ReadEndpoint, TaskEndpoint):
    """The team's tasks."""

    address = "tasks"
    verb = "task.create"
    scope = "tasks"

    def read(self, query: TaskQuery) -> Page[Task]:
        """List tasks, newest first. Each page is one snapshot; `next` neither skips nor repeats a row."""
        filters = TaskFilters(status=query.status, held_by=query.held_by, text=query.q)
        return self.page(partial(selectors.tasks, self.viewer, filters, most_bytes=room()))

    def write(self, body: NewTask) -> Made[Task]:
        """Create a task: 201, or 200 with the existing task of this key.

        Of concurrent requests with one key, one creates the task; the others return it.
        """
        task, created = tasks.create(self.viewer, item=body)
        return Made(task.id, created)


def named_task(viewer: Viewer, key: str, query: LabelQuery) -> Ref:
    """The task of a path's key and label. Raises NoSuchTask, Conflict (ambiguous_key)."""
    return selectors.ref_by_key(viewer, key, label_text(query.label))


class OneTask(ReadEndpoint, TaskEndpoint):
    """One task."""

    address = "tasks/<task_key:key>"
    verb = "task.update"
    scope = "tasks"
    http_method_names = ("get", "head", "patch")
    patch = TaskEndpoint.post

    def read(self, key: str, query: LabelQuery) -> Task:
        """Read a task and its ETag, from one snapshot."""
        return self.show(selectors.by_key(self.viewer, key, label_text(query.label)))

    def write(self, key: str, query: LabelQuery, body: TaskChange) -> Changed[Task]:
        """Update a task. It needs If-Match: 428 without, 412 with the `current` task when that has changed.

        Of concurrent updates of one version, one succeeds.
        """
        task = selectors.by_key(self.viewer, key, label_text(query.label))
        tag = if_match(self.request.META.get("HTTP_IF_MATCH"))
        if tag.id != task.id:
            raise PreconditionFailed("The task was changed meanwhile.", current=task.show())
        try:
            tasks.update(self.viewer, task=task, expected=(tag.version, tag.mark), change=body)
        except PreconditionFailed as error:
            now = selectors.find_task(self.viewer, task.id)
            raise PreconditionFailed(error.detail, current=now.show()) from error
        return Changed(task.id)


class ClaimBody(Shape, kw_only=True):
    ttl_seconds: Seconds = 600


class Held(Shape, kw_only=True):
    token: Token


class HeldFor(Held, kw_only=True):
    ttl_seconds: Seconds = 600


class ClaimTask(WriteEndpoint):
    """Claim the task's lease, with a fencing token that grows with every claim. It expires on the database's clock.

    Of concurrent claims one wins; the others get 409 lease_held, or human_owned while a person has the task, with
    `held_by` and `lease_expires_at`. The holder's own claim is refused too: renew the lease.
    """

    address = "tasks/<task_key:key>/claim"
    verb = "task.claim"

    def write(self, key: str, query: LabelQuery, body: ClaimBody = ClaimBody()) -> Kept[Lease]:
        task = named_task(self.viewer, key, query)
        return Kept(kept_lease(leases.claim(self.viewer, task=task, ttl_seconds=body.ttl_seconds)))

    def render(self, outcome: Any, ahead: Any) -> dict[str, Any]:
        return shown_lease(self.viewer, outcome.result)


class RenewTask(ClaimTask):
    """Renew the lease, from now. 409 lease_lost when it has expired, or another has claimed the task meanwhile."""

    address = "tasks/<task_key:key>/renew"
    verb = "task.renew"

    def write(self, key: str, query: LabelQuery, body: HeldFor) -> Kept[Lease]:  # type: ignore[override]
        task = named_task(self.viewer, key, query)
        return Kept(kept_lease(leases.renew(self.viewer, task=task, token=body.token, ttl_seconds=body.ttl_seconds)))


def kept_lease(lease: leases.TakenLease) -> dict[str, Any]:
    """The result of a claim or renewal, as stored for a replay."""
    return {"token": lease.token, "expires_at": format_when(lease.expires_at)}


def shown_lease(viewer: Viewer, kept: dict[str, Any]) -> dict[str, Any]:
    """The same with its holder, the requester."""
    return {**kept, "held_by": viewer.name}


class Claimed(Schema):
    task: Task
    lease: Lease


class ClaimNextBody(ClaimBody, kw_only=True):
    read_only: ClassVar[frozenset[str]] = Shape.read_only - {"status"}
    status: Literal["open", "in_progress", "blocked"] | None = None
    metadata: JsonObject | None = None


class ClaimNext(WriteEndpoint):
    """Claim the oldest free task that matches; 204 when there is none. No two concurrent callers get the same task."""

    address = "tasks/claim-next"
    in_place_of = ("task", frozenset({"GET", "HEAD", "PATCH"}))
    verb = "task.claim_next"

    def write(self, body: ClaimNextBody = ClaimNextBody()) -> Kept[Claimed] | None:
        lease = leases.claim_next(self.viewer, status=body.status, metadata=body.metadata, ttl_seconds=body.ttl_seconds)
        if lease is None:
            return Kept(None, 204)
        return Kept({"task": str(lease.id), "lease": kept_lease(lease)})

    def row(self, result: Any) -> Question[StoredTask]:
        return selectors.one(self.viewer, result["task"])

    def render(self, outcome: Any, ahead: Callable[[], StoredTask] | None) -> dict[str, Any]:
        task = ahead() if ahead is not None else self.row(outcome.result).ask()
        return {"task": task.show(), "lease": shown_lease(self.viewer, outcome.result["lease"])}


class ReleaseTask(TaskEndpoint):
    """Release the task, unfinished. 409 lease_lost when the lease has expired, or another has claimed it meanwhile."""

    address = "tasks/<task_key:key>/release"
    verb = "task.release"

    def write(self, key: str, query: LabelQuery, body: Held) -> Changed[Task]:
        return Changed(leases.release(self.viewer, task=named_task(self.viewer, key, query), token=body.token).id)


class Ended(Held, kw_only=True):
    outcome: Content | None = None


class CompleteTask(TaskEndpoint):
    """Complete the task. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of concurrent requests that end it, one succeeds; its event follows everything written under the lease.
    """

    address = "tasks/<task_key:key>/complete"
    verb = "task.complete"
    end: Callable[..., models.Task] = staticmethod(leases.complete)

    def write(self, key: str, query: LabelQuery, body: Ended) -> Changed[Task]:
        task = named_task(self.viewer, key, query)
        return Changed(type(self).end(self.viewer, task=task, token=body.token, outcome=body.outcome).id)


class FailTask(CompleteTask):
    """End the task as failed. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of concurrent requests that end it, one succeeds; its event follows everything written under the lease.
    """

    address = "tasks/<task_key:key>/fail"
    verb = "task.fail"
    end = staticmethod(leases.fail)


class Reopening(Shape, kw_only=True):
    reason: Text


class ReopenTask(TaskEndpoint):
    """Reopen an ended task; it counts as rework. 409 wrong_state for a task that has not ended.

    Of concurrent requests one counts.
    """

    address = "tasks/<task_key:key>/reopen"
    verb = "task.reopen"

    def write(self, key: str, query: LabelQuery, body: Reopening) -> Changed[Task]:
        return Changed(leases.reopen(self.viewer, task=named_task(self.viewer, key, query), reason=body.reason).id)
