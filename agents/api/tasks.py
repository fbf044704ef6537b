"""/api/v1/tasks: make, list, change, lease."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from django.http import HttpResponse
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request

from agents.api.doors import Answer, Outcome, Reading, Writing, room
from memoryhub.core.errors import PreconditionFailed
from memoryhub.core.models import Sensitivity
from memoryhub.interface.http.etags import if_match, make_tag
from memoryhub.interface.http.json import format_when
from memoryhub.interface.http.pagination import Listed
from memoryhub.interface.http.shapes import Content, JsonObject, Line, NewRow, Shape, TaskKey, Text
from memoryhub.memory import answers, rendering
from memoryhub.memory.actions import leases, tasks
from memoryhub.memory.actions.leases import Lease
from memoryhub.memory.models import Task, TaskStatus
from memoryhub.memory.selectors import tasks as selectors

Seconds = Annotated[int, Meta(ge=1, le=3600)]
Token = Annotated[int, Meta(ge=1, le=2**53)]
STATUSES = tuple(TaskStatus.values)


def level_value(name: str | UnsetType) -> int | None:
    """The number of a sensitivity that a body named; None when it did not."""
    return None if isinstance(name, UnsetType) else Sensitivity[name.upper()].value


def none_if_unset(value: Any) -> Any:
    """The value of a body's member; None when it was not sent."""
    return None if value is UNSET else value


def task_answer(task: selectors.TaskRow, status: int = 200) -> Answer:
    """A task with its ETag."""
    return Answer(rendering.task(task), status, {"ETag": make_tag(task.id, task.version, task.change_id)})


class NewTask(NewRow, kw_only=True):
    key: TaskKey
    title: Line
    requester: Annotated[str, Meta(max_length=200)] = ""
    metadata: JsonObject = {}


class Tasks(Reading, Writing):
    """The team's tasks."""

    verb = "task.create"
    scope = "tasks"
    shape = NewTask
    shows = Listed[answers.Task]
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Task, 201: answers.Task}
    parameters: ClassVar[frozenset[str]] = frozenset({"status", "held_by", "q", "limit", "cursor"})

    def read(self, **url: Any) -> Answer:
        """List tasks, newest first. A page is one snapshot; following pages skip and repeat nothing meanwhile made."""
        filters = selectors.Filters(
            status=self.params.choice("status", STATUSES),
            held_by=self.params.text("held_by", longest=100),
            text=self.params.text("q", longest=200),
        )

        def fetch(position: Any, backwards: bool, limit: int) -> list[selectors.TaskRow]:
            return selectors.tasks(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.paged(fetch, rendering.task)

    def write(self, body: NewTask, **url: Any) -> Outcome:
        """Make a task: 201; a key that exists is answered with 200 and the existing task.

        Of several requests at once with one key, one makes the task and the others are answered with it.
        """
        task, created = tasks.create(
            self.viewer,
            key=body.key,
            title=body.title,
            requester=body.requester,
            metadata=body.metadata,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
            client_ref=body.client_ref,
        )
        return Outcome(201 if created else 200, str(task.id))

    def render(self, outcome: Outcome) -> Answer:
        return task_answer(selectors.find_task(self.viewer, outcome.result), outcome.status)


class TaskChange(Shape, kw_only=True):
    # The status is what this is about, so here it is no read-only member.
    read_only: ClassVar[frozenset[str]] = Shape.read_only - {"status"}
    title: Line | UnsetType = UNSET
    requester: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    status: Literal["open", "blocked", "cancelled"] | UnsetType = UNSET


class OneTask(Reading, Writing):
    """One task."""

    verb = "task.update"
    scope = "tasks"
    shape = TaskChange
    shows = answers.Task
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Task}
    parameters: ClassVar[frozenset[str]] = frozenset({"label"})
    http_method_names = ["get", "head", "patch"]

    def read(self, **url: Any) -> Answer:
        """Read a task, as it is at one moment, with its ETag."""
        return task_answer(selectors.by_key(self.viewer, url["key"], self.label_param()))

    def patch(self, request: Request, **url: Any) -> HttpResponse:
        return self.post(request, **url)

    def write(self, body: TaskChange, **url: Any) -> Outcome:
        """Change a task, with If-Match: 428 without; 412, with the current one, when it was changed meanwhile.

        Of several changes of one version at once, one is made.
        """
        task = selectors.by_key(self.viewer, url["key"], self.label_param())
        tag = if_match(self.request.META.get("HTTP_IF_MATCH"))
        if tag.id != task.id:
            raise PreconditionFailed("The task was changed meanwhile.", current=rendering.task(task))
        try:
            tasks.update(
                self.viewer,
                task=task,
                expected=(tag.version, tag.mark),
                title=none_if_unset(body.title),
                requester=none_if_unset(body.requester),
                metadata=none_if_unset(body.metadata),
                status=none_if_unset(body.status),
            )
        except PreconditionFailed as error:
            now = selectors.find_task(self.viewer, task.id)
            raise PreconditionFailed(error.detail, current=rendering.task(now)) from error
        return Outcome(200, str(task.id))

    def render(self, outcome: Outcome) -> Answer:
        return task_answer(selectors.find_task(self.viewer, outcome.result))


class Claim(Shape, kw_only=True):
    ttl_seconds: Seconds = 600


class ClaimTask(Writing):
    """Take the task's lease: a fencing token that grows with every claim. The database's clock says when it ends.

    Of several claims at once one wins; the others get 409 lease_held, or human_owned while a person has the task, with
    `held_by` and `lease_expires_at`. Claiming again what one holds is refused, too: renew it.
    """

    verb = "task.claim"
    shape: ClassVar[type[Shape]] = Claim
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Lease}
    body_optional = True
    parameters: ClassVar[frozenset[str]] = frozenset({"label"})

    def write(self, body: Claim, **url: Any) -> Outcome:
        task = selectors.ref_by_key(self.viewer, url["key"], self.label_param())
        return lease_outcome(leases.claim(self.viewer, task=task, ttl_seconds=body.ttl_seconds))

    def render(self, outcome: Outcome) -> Answer:
        return Answer({**outcome.result, "held_by": self.viewer.name})


def lease_outcome(lease: Lease) -> Outcome:
    """What a claim or renewal returned."""
    return Outcome(200, {"token": lease.token, "expires_at": format_when(lease.expires_at)})


class Claimed(TypedDict):
    task: answers.Task
    lease: answers.Lease


class ClaimNextBody(Claim, kw_only=True):
    read_only: ClassVar[frozenset[str]] = Shape.read_only - {"status"}
    status: Literal["open", "in_progress", "blocked"] | None = None
    metadata: JsonObject | None = None


class ClaimNext(Writing):
    """Claim the oldest free task that fits; 204 when there is none. Of several callers at once no two get the same."""

    in_place_of = ("task", frozenset({"GET", "HEAD", "PATCH"}))
    verb = "task.claim_next"
    answers: ClassVar[Mapping[int, Any]] = {200: Claimed, 204: None}
    shape = ClaimNextBody
    body_optional = True

    def write(self, body: ClaimNextBody, **url: Any) -> Outcome:
        lease = leases.claim_next(self.viewer, status=body.status, metadata=body.metadata, ttl_seconds=body.ttl_seconds)
        if lease is None:
            return Outcome(204, None)
        result = {"task": str(lease.id), "lease": lease_outcome(lease).result}
        return Outcome(200, result, ahead=selectors.task_after(self.viewer, lease.id))

    def render(self, outcome: Outcome) -> Answer:
        if outcome.status == 204:
            return Answer(None, 204)
        lease = {**outcome.result["lease"], "held_by": self.viewer.name}
        task = outcome.ahead() if outcome.ahead else selectors.find_task(self.viewer, outcome.result["task"])
        return Answer({"task": rendering.task(task), "lease": lease})


class Held(Shape, kw_only=True):
    token: Token


class HeldFor(Held, kw_only=True):
    ttl_seconds: Seconds = 600


class RenewTask(ClaimTask):
    """Prolong one's lease, from now. 409 lease_lost when it ran out, or somebody else claimed the task meanwhile."""

    verb = "task.renew"
    shape = HeldFor
    body_optional = False

    def write(self, body: HeldFor, **url: Any) -> Outcome:  # type: ignore[override]
        task = selectors.ref_by_key(self.viewer, url["key"], self.label_param())
        return lease_outcome(leases.renew(self.viewer, task=task, token=body.token, ttl_seconds=body.ttl_seconds))


class TaskVerb(Writing):
    """A verb on a task that is answered with the task."""

    answers: ClassVar[Mapping[int, Any]] = {200: answers.Task}
    parameters: ClassVar[frozenset[str]] = frozenset({"label"})

    def write(self, body: Any, **url: Any) -> Outcome:
        task = selectors.ref_by_key(self.viewer, url["key"], self.label_param())
        return Outcome(200, str(self.act(task, body).id))

    def act(self, task: selectors.TaskRef, body: Any) -> Task:
        """Call the action."""
        raise NotImplementedError

    def render(self, outcome: Outcome) -> Answer:
        return task_answer(selectors.find_task(self.viewer, outcome.result))


class ReleaseTask(TaskVerb):
    """Give the task back unfinished. 409 lease_lost when it ran out, or somebody else claimed the task meanwhile."""

    verb = "task.release"
    shape = Held

    def act(self, task: selectors.TaskRef, body: Held) -> Task:
        return leases.release(self.viewer, task=task, token=body.token)


class Ended(Held, kw_only=True):
    outcome: Content | None = None


class CompleteTask(TaskVerb):
    """Finish the task as done. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of several that end it at once one does; its event follows all that was written with the lease.
    """

    verb = "task.complete"
    shape = Ended
    end: Callable[..., Task] = staticmethod(leases.complete)

    def act(self, task: selectors.TaskRef, body: Ended) -> Task:
        return type(self).end(self.viewer, task=task, token=body.token, outcome=body.outcome)


class FailTask(CompleteTask):
    """Finish the task as failed. 409 lease_lost on an old token, human_owned, or wrong_state while it is escalated.

    Of several that end it at once one does; its event follows all that was written with the lease.
    """

    verb = "task.fail"
    end = staticmethod(leases.fail)


class Reason(Shape, kw_only=True):
    reason: Text


class ReopenTask(TaskVerb):
    """Open a task that was over; counts as rework. 409 wrong_state for one that is not.

    Of several reopenings at once one counts.
    """

    verb = "task.reopen"
    shape = Reason

    def act(self, task: selectors.TaskRef, body: Reason) -> Task:
        return leases.reopen(self.viewer, task=task, reason=body.reason)
