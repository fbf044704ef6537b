"""Answers: what a person decides, how it is handed back to the agent, and how the agent takes it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from escalations.action_schemas import documents
from escalations.actions.common import free, let_go, lock, save, withdraw_answer, write_answer
from escalations.models import Answer, Escalation, Verdict
from escalations.permissions import VERBS, require
from escalations.selectors.escalations import unreachable
from escalations.states import ANSWERED, CANCELLED, CLOSED, EXPIRED, RESOLVED, next_state
from memoryhub.core.access.permissions import AGENTS, action
from memoryhub.core.db.clock import now
from memoryhub.core.errors import Code, Conflict, FieldError, NotAllowed
from memoryhub.core.outbox import jobs
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.json import dump
from memoryhub.memory.actions.leases import end_lease
from memoryhub.memory.actions.leases import finish as finish_task
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import Task, TaskStatus

CLOSE_UNACKNOWLEDGED = "escalation.close_unacknowledged"


@action("escalation.decide", roles=VERBS["decide"].roles)
def decide(
    viewer: Viewer,
    *,
    escalation_id: UUID,
    verdict: str,
    message: str = "",
    arguments: Mapping[str, Any] | None = None,
    arguments_json: str | None = None,
    done: str = "",
    next: str = "",
    hand_back: bool = True,
) -> Escalation:
    """Answer as the agent allows, and hand back in the same transaction unless `hand_back` is false.

    `arguments_json`: the arguments as JSON text, which is stored and returned to the agent byte by byte.
    Raises Conflict: already_decided, not_owner, wrong_state; NotAllowed (422) for a verdict that the agent does not
    allow, a rejection or response without a message, arguments that do not fit the action's schema, or an agent that is
    deactivated or may no longer read the answer.
    """
    escalation, task = lock(viewer, escalation_id)
    if escalation.state in (RESOLVED, *ANSWERED):
        found = escalation.state if escalation.state in (CANCELLED, EXPIRED) else "decided"
        raise Conflict(
            Code.ALREADY_DECIDED,
            f"This escalation is {found}.",
            state=escalation.state,
            version=escalation.version,
        )
    after = require(viewer, escalation, "decide")
    _check_verdict(escalation, verdict, message, arguments)
    _check_reader(escalation)
    escalation.state = after
    # The verdict is in the answer, not in the event: agents read the event before the answer is handed back.
    event = save(viewer, "decide", escalation)
    text = {"message": message, "done": done, "next": next}
    if verdict == Verdict.EDIT:
        text["arguments_json"] = arguments_json or dump(arguments).decode()
    write_answer(viewer, escalation, Verdict(verdict), text, event, is_given=False)
    if hand_back:
        give_back(viewer, escalation, task)
    else:
        task.lease_expires_at = None  # the end of the claim does not undo what is decided
        save_task(task)
    return escalation


def _check_verdict(escalation: Escalation, verdict: str, message: str, arguments: Mapping[str, Any] | None) -> None:
    if verdict not in escalation.allowed:
        allowed = ", ".join(escalation.allowed)
        raise NotAllowed(f"The agent can take only: {allowed}.", allowed=escalation.allowed)
    if verdict in (Verdict.REJECT, Verdict.RESPOND) and not message.strip():
        raise NotAllowed(errors=(FieldError("/message", "missing", f"To {verdict}, write a message to the agent."),))
    if verdict != Verdict.EDIT:
        if arguments is not None:
            raise NotAllowed(errors=(FieldError("/arguments", "unexpected", "Only edit takes arguments."),))
        return
    if arguments is None:
        raise NotAllowed(errors=(FieldError("/arguments", "missing", "Send the edited arguments."),))
    schema = (read_text(escalation).get("action") or {}).get("schema")
    if schema is not None and (faults := documents.faults(schema, arguments)):
        raise NotAllowed(errors=faults)


def _check_reader(escalation: Escalation) -> None:
    if (why := unreachable(escalation)) is not None:
        raise NotAllowed(why)


@action("escalation.hand_back", roles=VERBS["hand_back"].roles)
def hand_back(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Hand the decided escalation back to the agent: the owner, or a lead, who sends the owner's answer.

    Raises Conflict: not_owner, wrong_state; NotAllowed where the answer cannot reach the agent.
    """
    escalation, task = lock(viewer, escalation_id)
    require(viewer, escalation, "hand_back")
    _check_reader(escalation)
    give_back(viewer, escalation, task)
    return escalation


def give_back(viewer: Viewer, escalation: Escalation, task: Task) -> None:
    """Hand a locked, decided escalation back: the task is open and free, and the agent can read the answer."""
    escalation.state = next_state("hand_back", escalation.state)
    escalation.handed_back_at = now()
    escalation.claim_expires_at = None
    let_go(task)
    task.status = TaskStatus.IN_PROGRESS if task.holder_id else TaskStatus.OPEN
    save_task(task)
    event = save(viewer, "hand_back", escalation)
    answers = Answer.objects.filter(escalation_id=escalation.id, round=escalation.round, withdrawn_at__isnull=True)
    answers.update(given_id=event)
    jobs.schedule(
        viewer,
        CLOSE_UNACKNOWLEDGED,
        row_id=escalation.id,
        due_at=escalation.handed_back_at + timedelta(hours=escalation.policy["acknowledge_hours"]),
        generation=escalation.generation,
    )


@action("escalation.finish", roles=VERBS["finish"].roles)
def finish(viewer: Viewer, *, escalation_id: UUID, done: str, outcome: str = "done") -> Escalation:
    """The person has done the work: record it, and end the task as done or failed.

    Raises Conflict: not_owner, wrong_state; NotAllowed for a blank `done`.
    """
    escalation, task = lock(viewer, escalation_id)
    after = require(viewer, escalation, "finish")
    if not done.strip():
        raise NotAllowed(errors=(FieldError("/done", "missing", "Say what was done."),))
    escalation.state = after
    escalation.closed_at = now()
    escalation.claim_expires_at = None
    event = save(viewer, "finish", escalation, outcome=outcome)
    write_answer(viewer, escalation, Verdict.FINISH, {"message": "", "done": done, "next": ""}, event, is_given=True)
    finish_task(task, TaskStatus(outcome), {"done_by_a_person": done})
    save_task(task)
    return escalation


@action("escalation.acknowledge", roles=AGENTS, scope="escalations")
def acknowledge(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """The agent that escalated has the answer and resumes. Repeating it is a no-op.

    Raises Conflict: not_owner, wrong_state.
    """
    escalation, _ = lock(viewer, escalation_id)
    if escalation.author_id != viewer.membership:
        raise Conflict(Code.NOT_OWNER, "Only the agent that escalated may acknowledge.", state=escalation.state)
    if escalation.state == CLOSED and not escalation.unacknowledged:
        current().depends_on_event = escalation.change
        return escalation
    escalation.state = next_state("acknowledge", escalation.state)
    escalation.closed_at = now()
    save(viewer, "acknowledge", escalation)
    return escalation


@action("escalation.cancel", roles=AGENTS | VERBS["cancel"].roles, scope="escalations")
def cancel(viewer: Viewer, *, escalation_id: UUID, reason: str) -> Escalation:
    """End an escalation that is no longer needed: an agent its own; a person one that is free or theirs, a lead any.

    An answer that was not handed back is withdrawn, and never sent.
    Raises Conflict: not_owner, wrong_state.
    """
    escalation, task = lock(viewer, escalation_id)
    after = require(viewer, escalation, "cancel")
    if viewer.is_agent and escalation.author_id != viewer.membership:
        raise Conflict(Code.NOT_OWNER, "Only the agent that escalated may cancel.", state=escalation.state)
    if viewer.is_agent and escalation.state == RESOLVED:
        raise Conflict(Code.WRONG_STATE, "A person has decided this: wait for the answer.", state=escalation.state)
    if escalation.state == RESOLVED:
        withdraw_answer(escalation)
    escalation.state, escalation.closed_at = after, now()
    free(escalation)
    end_lease(task)
    task.status = TaskStatus.OPEN
    save_task(task)
    event = save(viewer, "cancel", escalation)
    write_answer(viewer, escalation, Verdict.IGNORE, {"message": reason, "done": "", "next": ""}, event, is_given=True)
    return escalation
