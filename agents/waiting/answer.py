"""GET /api/v1/escalations/{id}/answer: a long poll for what a person answers."""

from functools import partial
from uuid import UUID

from agents.waiting.doors import MAX_WAIT_SECONDS, Receive, Request, Send, Waiter, respond
from escalations.answers import Answer
from escalations.selectors import escalations
from memoryhub.core.transactions import viewer_transaction

DOOR = "api/v1/escalations/<uuid:escalation_id>/answer"
NEEDED = "escalations"


async def answer(request: Request, receive: Receive, send: Send, escalation_id: UUID) -> None:
    """Wait for the answer: 200 with it, at once when it is there; 204 when there is none after `wait` seconds (0..60).

    What happens meanwhile wakes the request, and rights are asked anew before it answers. A key may wait 8 times at
    once (429). Who asked gets the decision and the action to take; any other who sees the escalation, joined or not,
    gets the words, with `answered_other` for `answered`.
    """
    await respond(request, receive, send, DOOR, partial(_answer, escalation_id))


async def _answer(escalation_id: UUID, request: Request) -> Answer | None:
    viewer = await request.read(lambda: request.admit(NEEDED))
    params = request.params({"wait", "dialect"})
    seconds = params.integer("wait", low=0, high=MAX_WAIT_SECONDS) or 0
    params.choice("dialect", ("hub",))

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
