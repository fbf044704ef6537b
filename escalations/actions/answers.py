"""Answers: what a person decides, how it goes back to the agent, and how the agent takes it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from escalations.action_schemas import documents
from escalations.actions.common import free, let_go, lock, require_owner, save, withdraw_answer, write_answer
from escalations.models import Escalation, Verdict
from escalations.selectors.escalations import unreachable
from escalations.states import ANSWERED, CANCELLED, CLOSED, EXPIRED, RESOLVED, next_state
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.errors import Code, Conflict, FieldError, NotAllowed
from memoryhub.core.outbox import jobs
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.json import dump
from memoryhub.memory.actions.leases import end_lease, now
from memoryhub.memory.actions.leases import finish as finish_task
from memoryhub.memory.actions.tasks import save as save_task
from memoryhub.memory.models import Task, TaskStatus

CLOSE_UNACKNOWLEDGED = "escalation.close_unacknowledged"


@action("escalation.decide", roles=DESK)
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
    """Answer as the agent allowed, and hand back in the same click unless told otherwise.

    `arguments_json`: the arguments as JSON text, which is what is kept of them and given to the agent, byte by byte.
    Raises Conflict: already_decided, not_owner, wrong_state; NotAllowed (422) for a verdict that the agent did not
    allow, a rejection or response without words, arguments that do not fit the action's schema, or an agent that is
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
    require_owner(viewer, escalation)
    _check_verdict(escalation, verdict, message, arguments)
    _check_reader(escalation)
    escalation.state = next_state("decide", escalation.state)
    # The verdict is in the answer, not in the event, which agents hear of before it is handed back.
    event = save(viewer, "decide", escalation)
    text = {"message": message, "done": done, "next": next}
    if verdict == Verdict.EDIT:
        text["arguments_json"] = arguments_json or dump(arguments).decode()
    write_answer(viewer, escalation, Verdict(verdict), text, event)
    if hand_back:
        give_back(viewer, escalation, task)
    else:
        task.lease_expires_at = None  # what is decided is not taken back by the claim's end
        save_task(task)
    return escalation


def _check_verdict(escalation: Escalation, verdict: str, message: str, arguments: Mapping[str, Any] | None) -> None:
    if verdict not in escalation.allowed:
        allowed = ", ".join(escalation.allowed)
        raise NotAllowed(f"The agent can take only: {allowed}.", allowed=escalation.allowed)
    if verdict in (Verdict.REJECT, Verdict.RESPOND) and not message.strip():
        raise NotAllowed(errors=(FieldError("/message", "missing", f"To {verdict}, write what the agent is to know."),))
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


@action("escalation.hand_back", roles=DESK)
def hand_back(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """Give the decided escalation back to the agent: the owner, or a lead, who sends the owner's answer.

    Raises Conflict: not_owner, wrong_state; NotAllowed where the answer cannot reach the agent.
    """
    escalation, task = lock(viewer, escalation_id)
    next_state("hand_back", escalation.state)
    require_owner(viewer, escalation, or_lead=True)
    _check_reader(escalation)
    give_back(viewer, escalation, task)
    return escalation


def give_back(viewer: Viewer, escalation: Escalation, task: Task) -> None:
    """Hand a locked, decided escalation back: the task is open and free, and the agent is told."""
    escalation.state = next_state("hand_back", escalation.state)
    escalation.handed_back_at = now()
    escalation.claim_expires_at = None
    let_go(task)
    task.status = TaskStatus.IN_PROGRESS if task.holder_id else TaskStatus.OPEN
    save_task(task)
    save(viewer, "hand_back", escalation)
    jobs.schedule(
        viewer,
        CLOSE_UNACKNOWLEDGED,
        row_id=escalation.id,
        due_at=escalation.handed_back_at + timedelta(hours=escalation.policy["acknowledge_hours"]),
        generation=escalation.generation,
    )


@action("escalation.finish", roles=DESK)
def finish(viewer: Viewer, *, escalation_id: UUID, done: str, outcome: str = "done") -> Escalation:
    """The person has done the work: record it and end the task as done or failed.

    Raises Conflict: not_owner, wrong_state; NotAllowed without words on what was done.
    """
    escalation, task = lock(viewer, escalation_id)
    require_owner(viewer, escalation)
    if not done.strip():
        raise NotAllowed(errors=(FieldError("/done", "missing", "Say what was done."),))
    escalation.state = next_state("finish", escalation.state)
    escalation.closed_at = now()
    escalation.claim_expires_at = None
    event = save(viewer, "finish", escalation, outcome=outcome)
    write_answer(viewer, escalation, Verdict.FINISH, {"message": "", "done": done, "next": ""}, event)
    finish_task(task, TaskStatus(outcome), {"done_by_a_person": done})
    save_task(task)
    return escalation


@action("escalation.acknowledge", roles=AGENTS, scope="escalations")
def acknowledge(viewer: Viewer, *, escalation_id: UUID) -> Escalation:
    """The agent that escalated has the answer and resumes; repeating it is fine.

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


@action("escalation.cancel", roles=AGENTS | DESK, scope="escalations")
def cancel(viewer: Viewer, *, escalation_id: UUID, reason: str) -> Escalation:
    """It is no longer needed. An agent cancels only its own; a person whom the claim or the lead's role allows.

    What was decided and not handed back is withdrawn, and never sent.
    Raises Conflict: not_owner, wrong_state.
    """
    escalation, task = lock(viewer, escalation_id)
    state = next_state("cancel", escalation.state)
    if viewer.is_agent and escalation.author_id != viewer.membership:
        raise Conflict(Code.NOT_OWNER, "Only the agent that escalated may cancel.", state=escalation.state)
    if viewer.is_agent and escalation.state == RESOLVED:
        raise Conflict(Code.WRONG_STATE, "A person has decided this: wait for the answer.", state=escalation.state)
    if viewer.is_human and escalation.owner_id is not None:
        require_owner(viewer, escalation, or_lead=True)
    if escalation.state == RESOLVED:
        withdraw_answer(escalation)
    escalation.state, escalation.closed_at = state, now()
    free(escalation)
    end_lease(task)
    task.status = TaskStatus.OPEN
    save_task(task)
    event = save(viewer, "cancel", escalation)
    write_answer(viewer, escalation, Verdict.IGNORE, {"message": reason, "done": "", "next": ""}, event)
    return escalation
