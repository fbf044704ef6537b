"""/api/v1/tasks: the work, and who holds its lease."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpResponse
from msgspec import Meta
from rest_framework.request import Request

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
    held_by: Annotated[Name | None, about("Only tasks whose live lease this agent, or person, holds; by name.")] = None
    q: Annotated[str | None, Meta(max_length=200), about("Only tasks with this in key or title.")] = None


class Tasks(ReadEndpoint, WriteEndpoint):
    """The team's tasks."""

    verb = "task.create"
    scope = "tasks"

    def read(self, query: TaskQuery) -> Page[Task]:
        """List tasks, newest first. A page is one snapshot; following pages skip and repeat nothing meanwhile made."""
        filters = TaskFilters(status=query.status, held_by=query.held_by, text=query.q)

        def fetch(position: Any, backwards: bool, limit: int) -> list[StoredTask]:
            return selectors.tasks(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.page(fetch)

    def write(self, body: NewTask) -> Made[Task]:
        """Make a task: 201; a key that exists is answered with 200 and the existing task.

        Of concurrent requests with one key, one makes the task and the others are answered with it.
        """
        task, created = tasks.create(self.viewer, item=body)
        return Made(task.id, created)

    def row(self, result: Any) -> Question[StoredTask]:
        return selectors.one(self.viewer, result)


def named_task(viewer: Viewer, key: str, query: LabelQuery) -> Ref:
    """The task of an address. Raises NoSuchTask, Conflict (ambiguous_key)."""
    return selectors.ref_by_key(viewer, key, label_text(query.label))


class TaskEndpoint(WriteEndpoint):
    """A verb on a task that is answered with the task."""

    def row(self, result: Any) -> Question[StoredTask]:
        return selectors.one(self.viewer, result)


class OneTask(ReadEndpoint, TaskEndpoint):
    """One task."""

    verb = "task.update"
    scope = "tasks"
    http_method_names = ("get", "head", "patch")

    def read(self, key: str, query: LabelQuery) -> Task:
        """Read a task, as it is at one moment, with its ETag."""
        return self.show(selectors.by_key(self.viewer, key, label_text(query.label)))

    def patch(self, request: Request, **url: Any) -> HttpResponse:
        return self.post(request, **url)

    def write(self, key: str, query: LabelQuery, body: TaskChange) -> Changed[Task]:
        """Change a task, with If-Match: 428 without; 412, with the current one, when it was changed meanwhile.

        Of concurrent changes of one version, one is made.
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


class Claim(Shape, kw_only=True):
    ttl_seconds: Seconds = 600


class Held(Shape, kw_only=True):
    token: Token


class HeldFor(Held, kw_only=True):
    ttl_seconds: Seconds = 600


class ClaimTask(WriteEndpoint):
    """Take the task's lease: a fencing token that grows with every claim. The database's clock says when it ends.

    Of concurrent claims one wins; the others get 409 lease_held, or human_owned while a person has the task, with
    `held_by` and `lease_expires_at`. Claiming again what one holds is refused, too: renew it.
    """

    verb = "task.claim"

    def write(self, key: str, query: LabelQuery, body: Claim = Claim()) -> Kept[Lease]:
        task = named_task(self.viewer, key, query)
        return Kept(kept_lease(leases.claim(self.viewer, task=task, ttl_seconds=body.ttl_seconds)))

    def render(self, outcome: Any, ahead: Any) -> dict[str, Any]:
        return shown_lease(self.viewer, outcome.result)


class RenewTask(ClaimTask):
    """Prolong one's lease, from now. 409 lease_lost when it ran out, or somebody else claimed the task meanwhile."""

    verb = "task.renew"

    def write(self, key: str, query: LabelQuery, body: HeldFor) -> Kept[Lease]:  # type: ignore[override]
        task = named_task(self.viewer, key, query)
        return Kept(kept_lease(leases.renew(self.viewer, task=task, token=body.token, ttl_seconds=body.ttl_seconds)))


def kept_lease(lease: leases.Lease) -> dict[str, Any]:
    """What a claim or renewal returned, as it is kept."""
    return {"token": lease.token, "expires_at": format_when(lease.expires_at)}


def shown_lease(viewer: Viewer, kept: dict[str, Any]) -> dict[str, Any]:
    """The same with its holder, who requests it."""
    return {**kept, "held_by": viewer.name}


class Claimed(Schema):
    task: Task
    lease: Lease


class ClaimNextBody(Claim, kw_only=True):
    read_only: ClassVar[frozenset[str]] = Shape.read_only - {"status"}
    status: Literal["open", "in_progress", "blocked"] | None = None
    metadata: JsonObject | None = None


class ClaimNext(WriteEndpoint):
    """Claim the oldest free task that fits; 204 when there is none. Of concurrent callers no two get the same."""

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
    """Give the task back unfinished. 409 lease_lost when it ran out, or somebody else claimed the task meanwhile."""

    verb = "task.release"

    def write(self, key: str, query: LabelQuery, body: Held) -> Changed[Task]:
        return Changed(leases.release(self.viewer, task=named_task(self.viewer, key, query), token=body.token).id)


class Ended(Held, kw_only=True):
    outcome: Content | None = None


class CompleteTask(TaskEndpoint):
    """Finish the task as done. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of concurrent requests that end it one does; its event follows all that was written with the lease.
    """

    verb = "task.complete"
    end: Callable[..., models.Task] = staticmethod(leases.complete)

    def write(self, key: str, query: LabelQuery, body: Ended) -> Changed[Task]:
        task = named_task(self.viewer, key, query)
        return Changed(type(self).end(self.viewer, task=task, token=body.token, outcome=body.outcome).id)


class FailTask(CompleteTask):
    """Finish the task as failed. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of concurrent requests that end it one does; its event follows all that was written with the lease.
    """

    verb = "task.fail"
    end = staticmethod(leases.fail)


class Reopening(Shape, kw_only=True):
    reason: Text


class ReopenTask(TaskEndpoint):
    """Open a task that was over; counts as rework. 409 wrong_state for one that is not.

    Of concurrent reopenings one counts.
    """

    verb = "task.reopen"

    def write(self, key: str, query: LabelQuery, body: Reopening) -> Changed[Task]:
        return Changed(leases.reopen(self.viewer, task=named_task(self.viewer, key, query), reason=body.reason).id)
