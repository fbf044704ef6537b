"""/api/v1/escalations: requests for a person, and the answers to them. `answer` waits: agents.waiting."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta

from agents.api.doors import Changed, Endpoint, Made, ReadEndpoint, WriteEndpoint, fitting, keyset, room
from agents.api.memories import OfTask
from escalations.actions import answers
from escalations.actions.escalate import escalate
from escalations.models import Escalation as EscalationRow
from escalations.models import Priority
from escalations.schemas import (
    Action,
    Escalation,
    EscalationWithPackage,
    NewEscalation,
    Note,
    PackagePage,
    made_schema,
    page_schema,
)
from escalations.selectors import escalations, packages
from escalations.standing import in_states
from escalations.states import STATES
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.errors import not_found_at
from memoryhub.core.fields import Derived, EmptyBody, Shape, Text
from memoryhub.interface.http.etags import make_tag
from memoryhub.interface.http.json import dump, member_text
from memoryhub.interface.http.pagination import DEFAULT_LIMIT, Page, page, read_window
from memoryhub.interface.http.queries import Choices, Cursor, PageQuery, Query, about
from memoryhub.memory.kinds import KINDS, kind_of
from memoryhub.memory.selectors import memories
from memoryhub.memory.selectors import tasks as task_selectors

FIRST_PAGE = 50


class EscalationQuery(PageQuery, kw_only=True):
    task: OfTask = None
    state: Annotated[str | None, Choices(lambda: STATES), about("Only escalations in this state.")] = None


class PackageQuery(Query, kw_only=True):
    limit: Annotated[
        int,
        Meta(ge=1, le=packages.MOST_ROWS),
        about("The maximum number of rows; a page ends earlier at 8 MiB."),
    ] = DEFAULT_LIMIT
    cursor: Cursor = None


class Cancellation(Shape, kw_only=True):
    reason: Text


def found(door: Endpoint, escalation_id: UUID) -> EscalationRow:
    """One escalation's row; sets the response's ETag. Raises NotFound."""
    row = escalations.escalation(door.viewer, escalation_id)
    door.headers_out["ETag"] = make_tag(row.id, row.version, row.change)
    return row


class EscalationEndpoint(WriteEndpoint):
    """A verb on an escalation; it returns the escalation."""

    def render(self, outcome: Any, ahead: Any) -> Any:
        return escalations.show(found(self, UUID(outcome.result)))


class Escalations(ReadEndpoint, EscalationEndpoint):
    """The team's escalations."""

    address = "escalations"
    verb = "escalation.escalate"
    scope = "escalations"

    def read(self, query: EscalationQuery) -> Page[Escalation]:
        """List escalations, newest first. Each page is one snapshot; `next` neither skips nor repeats a row."""
        rows = escalations.escalations(self.viewer)
        if query.task:
            rows = rows.filter(task_id=task_selectors.ref_by_key(self.viewer, query.task).id)
        if query.state:
            rows = in_states(rows, [query.state])
        return self.page(keyset(rows), render=escalations.show)

    def write(self, body: NewEscalation) -> Made[Annotated[EscalationWithPackage, Derived(made_schema)]]:
        """Escalate a task to a person: 201 with the package's first page, or 200 with the one that is already open.

        At most one is open per task: of two concurrent requests one creates it and the other is added to it as a note.
        Where it is another agent's, `joined` is true, and its answer has the outcome `answered_other`. The package has
        what the key's scopes may read; `omitted` names the missing ones.
        """
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task)
        made, created = escalate(
            self.viewer,
            task=task,
            reason_code=body.reason_code,
            reason=body.reason,
            question=body.question,
            allowed=body.allowed,
            action=self._action(body.action) if body.action else None,
            recommendation=body.recommendation or "",
            priority=Priority[body.priority.upper()].value,
            assigned_to=body.assigned_to,
            client_ref=body.client_ref,
        )
        return Made(made.id, created)

    def _action(self, action: Action) -> dict[str, Any]:
        """The action, with its arguments also as the text that was sent: so they are stored, shown and returned."""
        text = member_text(self.request._request.body, "action", "arguments")
        return {
            "name": action.name,
            "arguments": action.arguments,
            "arguments_json": text,
            "schema": action.schema,
        }

    def render(self, outcome: Any, ahead: Any) -> EscalationWithPackage:
        row = found(self, UUID(outcome.result))
        filters, part = escalations.frozen(row), room() // 4
        most = FIRST_PAGE if has_scope(self.viewer, escalations.MEMORY) else 0
        first = escalations.package(self.viewer, row, most_bytes=part)
        for kind in KINDS.values():
            if kind.in_package:
                rows = memories.rows(self.viewer, kind.schema, filters, limit=most, most_bytes=part)
                first.full_context[kind.plural] = fitting(rows, most_bytes=part)
        joined = True if row.author_id != self.viewer.membership else UNSET
        return EscalationWithPackage(package=first, joined=joined, **escalations.members(row))


class OneEscalation(ReadEndpoint):
    """Read an escalation's state, owner, version and ETag, from one snapshot."""

    address = "escalations/<uuid:escalation_id>"
    scope = "escalations"

    def read(self, escalation_id: UUID) -> Escalation:
        return escalations.show(found(self, escalation_id))


class EscalationNotes(ReadEndpoint):
    """List the notes on an escalation that agents may read, newest first.

    Each page is one snapshot; `next` neither skips nor repeats a row.
    """

    address = "escalations/<uuid:escalation_id>/notes"

    def read(self, escalation_id: UUID, query: PageQuery) -> Page[Note]:
        row = escalations.escalation(self.viewer, escalation_id)
        filters = memories.MemoryFilters(task=row.task_id, escalation=row.id)
        return self.page(memories.lister(self.viewer, Note, filters, most_bytes=room()))


class ReadPackage(ReadEndpoint):
    """Read the task's memory as of the escalation, newest first; observations and decisions share a page's `limit`.

    It has what the key's scopes may read: observations, decisions, facts and learnings need `memory:read`, the task
    `tasks`. A page has up to 10,000 rows, or as many as fit into 8 MiB. Rows written meanwhile change no page: each
    shows the memory as it was when the escalation was created.
    """

    address = "escalations/<uuid:escalation_id>/package"
    scope = "escalations"

    def read(self, escalation_id: UUID, query: PackageQuery) -> Annotated[PackagePage, Derived(page_schema)]:
        row = escalations.escalation(self.viewer, escalation_id)
        window = read_window(
            self.params, address=self.request.path, owner=self.viewer.membership, most=packages.MOST_ROWS
        )
        package = escalations.package(self.viewer, row, most_bytes=room() // 4)
        left = room() - len(dump(package))
        rows = packages.rows(
            self.viewer,
            row,
            position=window.position,
            backwards=window.backwards,
            limit=window.limit + 1,
            most_bytes=left,
        )
        shown = fitting(rows[: window.limit], most_bytes=left)
        made = page(window, rows, lambda stored: str(stored.id), at_most=len(shown))
        self.headers_out |= made.headers
        for stored, one in zip(made.results, shown[::-1] if window.backwards else shown, strict=True):
            package.full_context[kind_of(stored.answer).plural].append(one)
        return PackagePage(next=made.next, previous=made.previous, **msgspec.structs.asdict(package))


class Acknowledge(EscalationEndpoint):
    """Acknowledge the answer, to resume. 409 wrong_state while there is no answer.

    Idempotent; of concurrent requests one takes effect.
    """

    address = "escalations/<uuid:escalation_id>/acknowledge"
    verb = "escalation.acknowledge"

    def write(self, escalation_id: UUID, body: EmptyBody = EmptyBody()) -> Changed[Escalation]:
        return Changed(answers.acknowledge(self.viewer, escalation_id=escalation_id).id)


class CancelEscalation(EscalationEndpoint):
    """Cancel an escalation that is no longer needed.

    409 not_owner for another agent's, wrong_state when it has been answered.

    Of a concurrent cancellation and answer, one takes effect.
    """

    address = "escalations/<uuid:escalation_id>/cancel"
    verb = "escalation.cancel"

    def write(self, escalation_id: UUID, body: Cancellation) -> Changed[Escalation]:
        return Changed(answers.cancel(self.viewer, escalation_id=escalation_id, reason=body.reason).id)
