"""GET /api/v1/feed: what has changed since a `seq`, by page or by long poll."""

import re
from functools import partial
from typing import Annotated

from msgspec import Meta

from agents.waiting.doors import MAX_WAIT_SECONDS, Receive, Send, Waiter, WaitingRequest, respond
from agents.waiting.frames import ADMINISTRATION, FeedEvents, page_of
from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.core.fields import TaskKey
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.pagination import DEFAULT_LIMIT, MAX_LIMIT
from memoryhub.interface.http.queries import Query, Seq, about
from memoryhub.interface.live.reader import EventFilter, check_cursor, read_events, read_head
from memoryhub.memory.selectors import tasks as task_selectors

DOOR = "api/v1/feed"
NEEDED = "memory:read"
_TYPE = re.compile(r"[a-z_]{1,30}(\.[a-z_]{1,30})?")


class EventsQuery(Query, kw_only=True):
    types: Annotated[
        list[Annotated[str, Meta(pattern=r"^[a-z_]{1,30}(\.[a-z_]{1,30})?$")]] | None,
        about(
            "Only events of these types, repeated or comma-separated: of rows (`observation`) or of events"
            " (`observation.log`)."
        ),
    ] = None
    task: Annotated[TaskKey | None, about("Only events of this task; 404 when it is absent or hidden.")] = None
    after: Annotated[
        Seq | None, about("The `seq` to begin after: `next` of the last page. Without it the feed begins now.")
    ] = None


class FeedQuery(EventsQuery, kw_only=True):
    limit: Annotated[
        int,
        Meta(ge=1, le=MAX_LIMIT),
        about("The maximum number of events."),
    ] = DEFAULT_LIMIT
    wait: Annotated[
        int,
        Meta(ge=0, le=MAX_WAIT_SECONDS),
        about("Seconds to wait for the first event (long poll)."),
    ] = 0


async def feed(request: WaitingRequest, receive: Receive, send: Send) -> None:
    """Read the events after `after`, in commit order, and the cursor `next` to continue from.

    `next` is the `seq` up to which every event that the key may see, and that the filters select, was returned; it
    equals `after` when nothing has happened. Without `after` the feed begins now. With `wait` an empty page waits for
    the first event. Returned events are durable; of concurrent commits none is skipped, and none comes out of order.
    410 `resync`, with `floor`, `head` and `life`, for a cursor ahead of the ledger, below the feed's floor, more than
    10,000 events behind, or of a lost history (`life` counts the ledger's histories: a standby that lacked the last
    commits was promoted, or a backup was restored): read a fresh snapshot of what you need, and resume at `head`, or
    after a loss at `floor`, which misses nothing.
    """
    await respond(request, receive, send, DOOR, _page)


async def _page(request: WaitingRequest) -> FeedEvents:
    viewer, query, wanted, after = await request.read(partial(_requested, request))
    look = partial(request.read, partial(_look, request, wanted, after, query.limit))
    found = await look()
    if found["events"] or not query.wait:
        return found
    return await Waiter(viewer, wanted.takes).until(look, lambda page: bool(page["events"]), query.wait)


def _requested(request: WaitingRequest) -> tuple[Viewer, FeedQuery, EventFilter, int]:
    viewer = request.admit(NEEDED)
    query = request.query(FeedQuery)
    wanted = wanted_of(viewer, query)
    return viewer, query, wanted, read_head(viewer) if query.after is None else query.after


def wanted_of(viewer: Viewer, query: EventsQuery) -> EventFilter:
    """The filters `types` and `task`. Raises Invalid; NotFound for an absent or hidden task."""
    types = query.types
    for word in types or ():
        if not _TYPE.fullmatch(word):
            words = "A type is a row's, such as observation, or an event's, such as observation.log."
            raise Invalid(errors=(FieldError("?types", Code.BAD_FORMAT, words),))
    task = None
    if query.task is not None:
        with viewer_transaction(viewer, read_only=True):
            task = task_selectors.ref_by_key(viewer, query.task).id
    return EventFilter(types=None if types is None else frozenset(types), task=task, except_rows=ADMINISTRATION)


def _look(request: WaitingRequest, wanted: EventFilter, after: int, limit: int) -> FeedEvents:
    # Authenticates each time, as any request does: a revoked right takes effect.
    viewer = request.enter(NEEDED)
    ledger = check_cursor(viewer, after)
    with viewer_transaction(viewer, read_only=True):
        events, reached = read_events(viewer, after, ledger.head, limit=limit, wanted=wanted)
        return {"events": page_of(viewer, events), "next": reached, "life": ledger.life}
