"""GET /api/v1/escalations/{id}/answer: a long poll for a person's answer."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from agents.waiting.doors import MAX_WAIT_SECONDS, Receive, Send, Waiter, WaitingRequest, respond
from escalations.schemas import Answer
from escalations.selectors import escalations
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.queries import Query, about

DOOR = "api/v1/escalations/<uuid:escalation_id>/answer"
NEEDED = "escalations"


class AnswerQuery(Query, kw_only=True):
    wait: Annotated[
        int,
        Meta(ge=0, le=MAX_WAIT_SECONDS),
        about("Seconds to wait for the answer (long poll)."),
    ] = 0
    dialect: Annotated[Literal["hub"], about("The format of the answer.")] = "hub"


async def answer(request: WaitingRequest, receive: Receive, send: Send, escalation_id: UUID) -> None:
    """Wait for the answer: 200 with it as soon as it is there; 204 when there is none after `wait` seconds (0 to 60).

    An event wakes the request; the key is checked again before the response. A key may have 8 concurrent waits (429).
    The agent that asked gets the decision and the action to take; any other that sees the escalation, joined or not,
    gets the words, with `answered_other` for `answered`.
    """
    await respond(request, receive, send, DOOR, partial(_answer, escalation_id))


async def _answer(escalation_id: UUID, request: WaitingRequest) -> Answer | None:
    viewer = await request.read(lambda: request.admit(NEEDED))
    seconds = request.query(AnswerQuery).wait
    look = partial(request.read, partial(_look, request, escalation_id))
    if not seconds:
        return await look()
    waiter = Waiter(viewer, lambda event: event.row_id == escalation_id)
    return await waiter.until(look, lambda found: found is not None, seconds)


def _look(request: WaitingRequest, escalation_id: UUID) -> Answer | None:
    # Authenticates each time, as any request does: a revoked right takes effect.
    viewer = request.enter(NEEDED)
    with viewer_transaction(viewer, read_only=True):
        return escalations.answer_of(viewer, escalation_id)
