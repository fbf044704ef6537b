"""The desk's socket: `/ws/t/{team}/queue/`. Resumes by `seq`, then sends what the process's one reader has rendered."""

import functools
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from escalations.desk.frames import DeskFrames, render
from escalations.desk.watches import Watch
from memoryhub.core.db.clock import now_ms
from memoryhub.core.errors import Gone, HubError
from memoryhub.core.fields import Shape
from memoryhub.core.ledger.lives import Ledger
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.json import dump, parse_object
from memoryhub.interface.http.params import MAX_QUERY_BYTES
from memoryhub.interface.http.shapes import convert
from memoryhub.interface.live.reader import Heard, LiveEvent, check_cursor, live, read_events, read_head
from memoryhub.interface.live.sockets import MAX_WAITING_CHARS, MAX_WAITING_FRAMES, TOO_SLOW, PersonSocket
from memoryhub.interface.server.lookups import read_for

MAX_HELLO_BYTES = MAX_QUERY_BYTES + 1024


class Hello(Shape, kw_only=True):
    """The one message that a client sends: the `seq` of its page, the task whose timeline it shows, and the query by
    which its queue or timeline is narrowed (its `data-view`). A page that is narrowed anew opens another socket.
    """

    after: Annotated[int, Meta(ge=0, le=2**53)]
    task: UUID | None = None
    view: Annotated[str, Meta(max_length=MAX_QUERY_BYTES)] = ""


class QueueSocket(PersonSocket):
    """One desk's live connection."""

    watch = Watch()
    render = staticmethod(render)

    async def __call__(self, *args: Any) -> None:
        """The ASGI application of this one socket."""
        self._reached = 0  # up to which its own catching up has brought it
        self._sent = 0  # the greatest `seq` that was sent, or waits to be
        self._early: list[tuple[int, str]] | None = []  # what is heard before that
        self._early_chars = 0
        await super().__call__(*args)

    def greet(self, text: str) -> Coroutine[Any, Any, None]:
        """Resume where the client's page is."""
        try:
            raw = text.encode("utf-8", "surrogatepass")
            hello = convert(parse_object(raw, max_bytes=MAX_HELLO_BYTES), Hello)
            self.watch = Watch.read(hello.task, hello.view)
        except HubError as error:
            raise ValueError(error.detail) from error
        return self._serve(hello.after)

    def leave(self) -> None:
        """Hear nothing more."""
        live.unsubscribe(self)
        self._early = []

    def overhears(self, event: LiveEvent, frame: DeskFrames) -> bool:
        """Of the agents' private reasoning, for whoever has claimed the case and has it on the page."""
        return frame.opens(self.watch, self.viewer)

    def hear(self, heard: Heard) -> None:
        """Frames from the reader: kept until the gap before them is filled, then queued for sending."""
        texts: list[tuple[int, str]] = []
        for event, frame in heard:
            if event.type == "membership.change" and event.row_id == self.viewer.membership:
                self.revoke()
                return
            text = frame.text(self.watch, self.viewer)
            if text is not None and event.seq > self._reached:
                texts.append((event.seq, text))
        if not texts or self.is_over:
            return
        if self._early is None:
            self._sent = texts[-1][0]
            self.put(*(text for _, text in texts))
            return
        self._early += texts
        self._early_chars += sum(len(text) for _, text in texts)
        if len(self._early) > MAX_WAITING_FRAMES or self._early_chars > MAX_WAITING_CHARS:
            self.end(TOO_SLOW, "too slow: connect again and resume")

    def beat(self, seq: int) -> None:
        """Everything up to this `seq` that is for this socket stands in the queue before the beat."""
        if self._early is None:
            self._sent = max(seq, self._reached)
            self.put(dump({"type": "beat", "seq": self._sent, "now": now_ms()}).decode())

    def fork(self, fork: int, ledger: Ledger) -> None:
        """Who was told what came after the fork is told so, and goes on from there; the others just go on."""
        self._reached = min(self._reached, fork)
        if self._sent > fork:
            self._sent = fork
            self._resync(fork, ledger.life)
            if self._early is None:
                self.put(dump({"type": "ready", "seq": fork, "now": now_ms()}).decode())

    def _resync(self, floor: int, life: int) -> None:
        self.put(dump({"type": "resync", "floor": floor, "life": life}).decode())

    async def _serve(self, after: int) -> None:
        self._sent = after
        await live.subscribe(self)
        try:
            ledger = await read_for(self.viewer.membership, lambda: check_cursor(self.viewer, after))
            await self._catch_up(after, ledger.head)
        except Gone as gone:
            self._resync(gone.extra["floor"], gone.extra["life"])
            self._reached = self._sent = gone.extra["head"]
        while self._early:
            early, self._early, self._early_chars = self._early, [], 0
            for seq, text in early:
                if seq > self._reached:
                    await self.room()
                    self._sent = seq
                    self.put(text)
        self.put(dump({"type": "ready", "seq": self._reached, "now": now_ms()}).decode())
        self._early = None

    async def _catch_up(self, after: int, head: int) -> None:
        """Send what was missed, read and rendered through this viewer's own rights."""
        self._reached = after
        while self._reached < head and not self.is_over:
            missed, reached = await read_for(self.viewer.membership, functools.partial(self._missed, self._reached))
            for frame in missed:
                if (text := frame.text(self.watch, self.viewer)) is not None:
                    await self.room()
                    self.put(text)
            if reached == self._reached:
                return  # the ledger is shorter by now: the reader tells
            self._reached = self._sent = reached

    def _missed(self, after: int) -> tuple[Sequence[DeskFrames], int]:
        head = read_head(self.viewer)
        with viewer_transaction(self.viewer, read_only=True):
            events, reached = read_events(self.viewer, after, head)
            return render(self.viewer, events, [self.watch]) if events else [], reached
