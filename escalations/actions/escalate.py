"""Escalate: an agent asks for a person."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings

from escalations.action_schemas import documents
from escalations.actions.common import RETRY_SECONDS, place, record, refuse_more_notes, write_note
from escalations.json_text import keep
from escalations.models import Audience, Escalation, Note, Priority, Queue, Verdict
from escalations.states import OPEN
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Code, Conflict, FieldError, Invalid, NotAllowed, RateLimited
from memoryhub.core.ids import new_id
from memoryhub.core.models import ActorKind, Membership, Role, Team
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer, viewer_of
from memoryhub.memory.actions.tasks import lock as lock_task
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import OVER, Task, TaskStatus
from memoryhub.memory.selectors.tasks import TaskRef

DEFAULT_QUEUE = "default"


@action("escalation.escalate", roles=AGENTS | DESK, scope="escalations")
def escalate(
    viewer: Viewer,
    *,
    task: TaskRef,
    reason_code: str,
    reason: str,
    question: str,
    allowed: Sequence[str] = (Verdict.RESPOND,),
    action: dict[str, Any] | None = None,
    recommendation: str = "",
    priority: int = Priority.NORMAL,
    assigned_to: str | None = None,
    client_ref: str | None = None,
) -> tuple[Escalation, bool]:
    """Ask for a person. Returns the escalation, and whether this call made it.

    A task has at most one open escalation: a second request returns that one, and its question is added as a note (a
    repeated `client_ref` adds nothing). Of an `action`, its `arguments_json`, the text as it was received, is stored in
    place of `arguments`. The package is the task's memory as of this event, so nothing is copied.
    Raises Conflict: wrong_state when the task is over, already_exists for a `client_ref` used for another task; Invalid
    for an `allowed` that does not fit the `action`; NotAllowed for an `assigned_to` who may not see the task or is not
    an active person; RateLimited beyond OPEN_ESCALATIONS open ones of the caller, or ESCALATION_NOTES notes by agents
    on one. Beyond URGENT_ESCALATIONS urgent open ones of the caller, an urgent one is stored as high.
    """
    _check_request(allowed, action)
    locked = lock_task(viewer, task.id)
    if client_ref is not None and (repeated := _repeated(viewer, locked, client_ref)) is not None:
        return repeated, False
    assignee = _assignee(locked, assigned_to) if assigned_to else None
    standing = Escalation.objects.select_for_update(no_key=True).filter(task_id=locked.id, state__in=OPEN).first()
    if standing is not None:
        refuse_more_notes(viewer, standing)
        request = f"{reason}\n\n{question}".strip()
        write_note(viewer, standing, request, audience=Audience.EVERYONE, client_ref=client_ref)
        return standing, False
    if locked.status in OVER:
        raise Conflict(Code.WRONG_STATE, f"A task that is {locked.status} cannot be escalated.", state=locked.status)

    given = _priority(viewer, priority)
    team = Team.objects.get(id=viewer.team)
    queue, _ = Queue.objects.get_or_create(team=team, name=DEFAULT_QUEUE)
    text = {"reason": reason, "question": question, "recommendation": recommendation, "action": keep(action)}
    made = Escalation(id=new_id(), task=locked, queue=queue, client_ref=client_ref)
    place(viewer, made, locked, text)
    made.reason_code, made.allowed, made.priority = reason_code, list(dict.fromkeys(allowed)), given
    made.assigned_to = assignee
    made.policy = {"claim_minutes": queue.claim_minutes, "acknowledge_hours": team.acknowledge_hours}
    if given != priority:
        made.policy["asked_priority"] = Priority(priority).label
    made.clock_id = record(viewer, "escalate", made, priority=Priority(given).label, reason_code=reason_code)
    made.save(force_insert=True)
    locked.status = TaskStatus.ESCALATED
    save_task(locked)
    return made, True


_OPEN_OF_MINE = f"""
select count(*), count(*) filter (where priority = {Priority.URGENT.value}) from escalation
where author_id = %(me)s::uuid and state in {OPEN}
"""
# Of the caller's concurrent requests, each counts those before it.
_ONE_BY_ONE = "select from membership where id = %(me)s::uuid for no key update"


def _priority(viewer: Viewer, asked: int) -> int:
    """The priority of the viewer's new escalation. Raises RateLimited when too many of theirs are open."""
    mine = {"me": viewer.membership}
    queue(_ONE_BY_ONE, mine)
    ((count, urgent),) = run(_OPEN_OF_MINE, mine)
    if count >= settings.OPEN_ESCALATIONS:
        raise RateLimited(
            f"You have {count} open escalations of {settings.OPEN_ESCALATIONS}: wait for answers, or cancel some.",
            retry_after=RETRY_SECONDS,
        )
    return Priority.HIGH if asked == Priority.URGENT and urgent >= settings.URGENT_ESCALATIONS else asked


def _repeated(viewer: Viewer, task: Task, client_ref: str) -> Escalation | None:
    """The escalation that the author's earlier request with this `client_ref` made, or was added to as a note."""
    mine: dict[str, Any] = {"author_id": viewer.membership, "label_id": task.label_id, "client_ref": client_ref}
    found: Escalation | Note | None = Escalation.objects.filter(**mine).first()
    found = found or Note.objects.select_related("escalation").filter(**mine).first()
    if found is None:
        return None
    escalation = found.escalation if isinstance(found, Note) else found
    if escalation.task_id != task.id:
        raise Conflict(Code.ALREADY_EXISTS, "This client_ref was used for an escalation of another task.")
    current().depends_on_event = found.clock_id
    return escalation


def _check_request(allowed: Sequence[str], action: dict[str, Any] | None) -> None:
    if not allowed:
        raise Invalid(errors=(FieldError("/allowed", "too_short", "Name at least one answer that you can take."),))
    if action is None and {Verdict.APPROVE, Verdict.EDIT} & set(allowed):
        raise Invalid(errors=(FieldError("/action", "missing", "approve and edit need the action they are about."),))
    if (
        action
        and action.get("schema") is not None
        and (fault := documents.check(action["schema"], action["arguments"]))
    ):
        raise Invalid(errors=(replace(fault, pointer=f"/action/schema{fault.pointer}"),))


def _assignee(task: Task, name: str) -> Membership:
    found = Membership.objects.select_related("actor", "team").filter(team_id=task.team_id, name=name).first()
    label = label_by_id(task.label_id)
    if (
        found is None
        or found.actor.kind != ActorKind.HUMAN
        or found.role == Role.READER
        or not (found.is_active and found.actor.is_active)
        or not viewer_of(found).dominates(label.sensitivity, label.compartments)
    ):
        # The same text whether there is no such person or they lack the clearance.
        raise NotAllowed(f"{name!r} cannot take this escalation.")
    return found
