"""GET /api/v1/escalations/{id}/answer: a long poll for what a person answers."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from agents.waiting.doors import MAX_WAIT_SECONDS, Receive, Request, Send, Waiter, respond
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
        about("Seconds to wait for the answer, on an event loop: nothing is held meanwhile."),
    ] = 0
    dialect: Annotated[Literal["hub"], about("How the answer is put.")] = "hub"


async def answer(request: Request, receive: Receive, send: Send, escalation_id: UUID) -> None:
    """Wait for the answer: 200 with it, at once when it is there; 204 when there is none after `wait` seconds (0..60).

    What happens meanwhile wakes the request, and rights are asked anew before it answers. A key may wait 8 times at
    once (429). Who asked gets the decision and the action to take; any other who sees the escalation, joined or not,
    gets the words, with `answered_other` for `answered`.
    """
    await respond(request, receive, send, DOOR, partial(_answer, escalation_id))


async def _answer(escalation_id: UUID, request: Request) -> Answer | None:
    viewer = await request.read(lambda: request.admit(NEEDED))
    seconds = request.query(AnswerQuery).wait

    async def look() -> Answer | None:
        # The key is asked again each time, as for any request: what was taken away meanwhile is gone.
        return await request.read(partial(_look, request, escalation_id))

    if not seconds:
        return await look()
    waiter = Waiter(viewer, lambda event: event.row_id == escalation_id)
    return await waiter.until(look, lambda found: found is not None, seconds)


def _look(request: Request, escalation_id: UUID) -> Answer | None:
    viewer = request.enter(NEEDED)
    with viewer_transaction(viewer, read_only=True):
        return escalations.answer_of(viewer, escalation_id)
