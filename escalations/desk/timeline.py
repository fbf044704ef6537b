"""An escalation's timeline: what agents observed and decided, what people wrote, what changed; newest first, in pages.

Rows and events have time-ordered ids, so that one keyset runs through all the tables that a page is merged of, and a
page costs the same at 10 and at 10,000 items.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet

from escalations.models import Answer, Escalation, Note
from escalations.selectors.escalations import alive_at, as_of, may_open_private
from memoryhub.core import work
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import Fitted
from memoryhub.core.errors import NotFound
from memoryhub.core.models import Event, Membership, Role
from memoryhub.core.secrecy.sealing import read_text, record_read
from memoryhub.core.viewers import Viewer
from memoryhub.memory.kinds import KINDS, Kind, kind_of
from memoryhub.memory.models import Decision
from memoryhub.memory.schemas.rows import Stored
from memoryhub.memory.selectors import keysets, memories
from memoryhub.memory.selectors.memories import MemoryFilters

PAGE, PAGE_BYTES = 50, 2 * 1024 * 1024
SINCE, BEFORE = "since", "before"  # the escalation
# What changes a state, without what only says that somebody is still there.
_STATE_ROWS = ("escalation", "task")
_NOT_SHOWN = ("escalation.keep", "escalation.renew")
_OF_DECISIONS = ("decision.revoke", "decision.outcome")
_NOTE = "escalation.note"
_WITH_ANSWER = ("escalation.decide", "escalation.finish", "escalation.cancel")
Words = Note | Answer | Decision


# Which part an item is of is told by its `seq`. Its id, made by some process's clock a moment before COMMIT, only
# bounds where to look, by far more than clocks differ or transactions last; without the bound, one part is searched
# through for the other.
_MARGIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class TimelineFilters:
    """What the timeline is narrowed by. `private`: with the agents' reasoning, for who holds the claim (recorded)."""

    kind: str | None = None
    agent: str | None = None
    tag: str | None = None
    q: str | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One entry. `text` None: confidential, and not opened for this reader. `what`: the type of a change's event.

    `about`: the decision that this one replaced, or that the change is of; `mark`: what that one has been since.
    """

    id: UUID
    kind: str
    seq: int
    at: datetime
    author: str
    author_id: UUID
    role: str
    label: str
    what: str
    text: dict[str, Any] | None
    tags: Sequence[str] = ()
    importance: float | None = None
    private: bool = False
    people_only: bool = False
    pinned: bool = False
    status: str = ""
    outcome: str = ""
    data: dict[str, Any] | None = None
    about: UUID | None = None
    mark: str = ""

    @property
    def is_memory(self) -> bool:
        return self.kind in KINDS

    @property
    def words(self) -> list[Any]:
        """The members of the text that its kind is found by."""
        return [self.text[name] for name in KINDS[self.kind].searched if self.text and name in self.text]

    @property
    def is_confidential(self) -> bool:
        return self.label.startswith("confidential")


def page(
    viewer: Viewer,
    row: Escalation,
    part: str,
    wanted: TimelineFilters,
    position: UUID | None = None,
    *,
    size: int = PAGE,
) -> tuple[list[Item], UUID | None]:
    """Up to `size` items below `position`, and the position that the next page goes on from (None: that was all).

    A page ends earlier where observations or decisions have more than PAGE_BYTES of text.
    `part`: what is `since` the escalation froze, or `before`. Opening what is confidential or private is recorded.
    """
    if wanted.private and may_open_private(viewer, row):
        memories.open_private(row.task_id)
    after, up_to = (as_of(row), None) if part == SINCE else (None, as_of(row))
    floor = memories.id_near(row.id, -_MARGIN) if part == SINCE else None
    if position is None and part == BEFORE:
        position = memories.id_near(row.id, _MARGIN)
    filters = MemoryFilters(
        task=row.task_id,
        after_seq=after,
        up_to_seq=up_to,
        alive_at=alive_at(row) if part == BEFORE else None,
        agent=wanted.agent,
        tags=[wanted.tag] if wanted.tag else (),
    )
    memory, end = _memory(viewer, filters, wanted, position, floor, size + 1)
    # Changes older than this page's memory belong to a later page; without the bound, the search for them would pass
    # over every event of the task.
    floor = end or (memory[size].id if len(memory) > size else floor)
    events = _events(viewer, row.task_id, filters, wanted, position, floor)[: size + 1]
    found = sorted([*memory, *events], key=lambda entry: entry.id, reverse=True)[: size + 1]
    shown = [entry for entry in found[:size] if entry.id != end]
    items = items_of(viewer, shown, opened=True)
    return items, shown[-1].id if len(found) > len(shown) else None


def item(viewer: Viewer, row: Escalation, item_id: UUID) -> Item:
    """One item of the escalation's task, opened. Raises NotFound."""
    if may_open_private(viewer, row):
        memories.open_private(row.task_id)
    filters = MemoryFilters(task=row.task_id, ids=[item_id], alive_at=alive_at(row))
    found: list[Any] = [
        *(row for kind in _kinds() for row in memories.rows(viewer, kind.schema, filters, limit=1)),
        *_changes(viewer).filter(task_id=row.task_id, id=item_id),
    ]
    if not found:
        raise NotFound()
    return items_of(viewer, found[:1], opened=True)[0]


def items_of_events(viewer: Viewer, events: Sequence[Event]) -> dict[UUID, list[Item]]:
    """Event id -> its items, for frames that all viewers share: nothing confidential is opened.

    `events` come with `actor` and `seq` (annotated). A batch of observations is one event with many items.
    """
    ids = [event.id for event in events]
    rows: list[Any] = [event for event in events if on_timeline(event)]
    filters = MemoryFilters(events=ids)
    for kind in _kinds():
        if any(event.row_type == kind.events for event in events):
            rows += memories.rows(viewer, kind.schema, filters, limit=10_000)
    made: dict[UUID, list[Item]] = {}
    for found, entry in zip(rows, items_of(viewer, rows, opened=False), strict=True):
        made.setdefault(found.id if isinstance(found, Event) else found.change, []).append(entry)
    return made


def _kinds() -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.on_timeline]


def filters() -> tuple[str, ...]:
    """What the timeline can be narrowed to: its kinds of rows, notes, changes of state."""
    return (*(kind.name for kind in _kinds()), "note", "state")


def on_timeline(event: Event) -> bool:
    """Whether the event is itself an item of its task's timeline."""
    return event.type in _OF_DECISIONS or (event.row_type in _STATE_ROWS and event.type not in _NOT_SHOWN)


def _memory(
    viewer: Viewer,
    filters: MemoryFilters,
    wanted: TimelineFilters,
    position: UUID | None,
    floor: UUID | None,
    limit: int,
) -> tuple[list[Any], UUID | None]:
    """Up to `limit` rows, newest first; and the id of the first that has no room on the page, where one has none."""
    found: list[Fitted[Any]] = []
    for kind in _kinds():
        if wanted.kind in (None, kind.name) and (not wanted.tag or "tags" in kind.schema.__struct_fields__):
            place: Any = {"words": wanted.q, "position": position, "floor": floor, "limit": limit}
            ids = keysets.page_of_ids(viewer, kind.schema, filters, **place)
            mine = MemoryFilters(ids=ids, alive_at=filters.alive_at)
            found.append(memories.rows(viewer, kind.schema, mine, limit=limit, most_bytes=PAGE_BYTES))
    end = max((rows[-1].id for rows in found if rows.at_most is not None), default=None)
    merged = sorted((row for rows in found for row in rows), key=lambda row: row.id, reverse=True)
    return [row for row in merged if end is None or row.id >= end], end


def _changes(viewer: Viewer) -> QuerySet[Event]:
    """The visible changes of states, and notes."""
    on_it = Q(row_type__in=_STATE_ROWS) | Q(type__in=_OF_DECISIONS)
    rows = Event.objects.filter(on_it, audience__isnull=True).exclude(type__in=_NOT_SHOWN)
    return visible_to(viewer, rows.select_related("actor").annotate(seq=F("clock__seq")))


def _events(
    viewer: Viewer,
    task: UUID,
    filters: MemoryFilters,
    wanted: TimelineFilters,
    position: UUID | None,
    floor: UUID | None,
) -> QuerySet[Event]:
    rows = _changes(viewer).filter(task_id=task).order_by("-id")
    if wanted.tag or wanted.kind in {kind.name for kind in _kinds()}:
        return rows.none()
    if wanted.kind == "note" or wanted.q:
        rows = rows.filter(type=_NOTE)
    elif wanted.kind == "state":
        rows = rows.exclude(type=_NOTE)
    if wanted.q:
        notes = visible_to(viewer, Note.objects.filter(escalation__task_id=task, body__text__icontains=wanted.q))
        rows = rows.filter(data__note__in=[str(note) for note in notes.values_list("id", flat=True)[:1000]])
    if wanted.agent:
        rows = rows.filter(actor__name=wanted.agent)
    if filters.after_seq is not None:
        rows = rows.filter(clock__seq__gt=filters.after_seq)
    if filters.up_to_seq is not None:
        rows = rows.filter(clock__seq__lte=filters.up_to_seq)
    if position is not None:
        rows = rows.filter(id__lt=position)
    return rows.filter(id__gte=floor) if floor is not None else rows


def items_of(viewer: Viewer, rows: Sequence[Any], *, opened: bool) -> list[Item]:
    """Observations, decisions and events (with `actor` and `seq`) as items, in order; `opened`: also what is sealed."""
    events = [row for row in rows if isinstance(row, Event)]
    words = _words(viewer, events)
    authors = {row.author_id for row in rows if not isinstance(row, Event)}
    roles = dict(Membership.objects.filter(id__in=authors).values_list("id", "role")) if authors else {}
    made = []
    for row in rows:
        work.check()
        if isinstance(row, Event):
            made.append(_of_event(row, words.get(row.id), opened=opened))
        else:
            made.append(_of_memory(row, roles.get(row.author_id, Role.AGENT), opened=opened))
    return made


def _of_memory(row: Stored[Any], role: str, *, opened: bool) -> Item:
    found: Any = row.answer
    kind = kind_of(found).name
    private = getattr(found, "private", False)
    if private and opened:
        record_read(found.model._meta.db_table, row.id, row.label_id, "private")
    replaced = getattr(found, "supersedes", None)
    return Item(
        id=row.id,
        kind=kind,
        seq=row.seq,
        at=found.created_at,
        author=found.author,
        author_id=row.author_id,
        role=role,
        label=str(label_by_id(row.label_id)),
        what=kind,
        text=row.read() if opened or row.sealed is None else None,
        tags=getattr(found, "tags", ()),
        importance=getattr(found, "importance", None),
        private=private,
        pinned=getattr(found, "pinned", False),
        status=getattr(found, "status", ""),
        outcome=getattr(found, "outcome", None) or "",
        about=replaced,
        mark="superseded" if replaced else "",
    )


def _of_event(event: Event, words: Words | None, *, opened: bool) -> Item:
    sealed = words is not None and words.sealed is not None
    of_decision = event.type in _OF_DECISIONS
    data = {**event.data, "verdict": words.verdict} if isinstance(words, Answer) else event.data
    return Item(
        id=event.id,
        kind="note" if event.type == _NOTE else "state",
        seq=event.seq,  # type: ignore[attr-defined]
        at=event.at,
        author=event.actor.name,
        author_id=event.actor_id,
        role=event.actor.role,
        label=str(label_by_id(event.label_id)),
        what=event.type,
        text=(_text_of(event, words) if words is not None else {}) if opened or not sealed else None,
        data=data,
        people_only=event.people,
        about=event.row_id if of_decision else None,
        outcome=event.data.get("outcome", "") if of_decision else "",
        mark=event.data.get("outcome", "revoked") if of_decision else "",
    )


def _text_of(event: Event, words: Words) -> dict[str, Any]:
    text = read_text(words)
    if not isinstance(words, Decision) or "unavailable" in text:
        return text
    if event.type == "decision.revoke":
        return {"message": text.get("revoke_reason", "")}
    # Only the last word on an outcome is kept, and it is not to be put into the mouth of who said otherwise before.
    return {"message": text.get("outcome_note", "")} if event.data.get("outcome") == words.outcome else {}


def _words(viewer: Viewer, events: Iterable[Event]) -> dict[UUID, Words]:
    """Event id -> the note, answer or decision that it is about."""
    decisions = {event.row_id for event in events if event.type in _OF_DECISIONS and event.row_id}
    found: dict[UUID, Words] = {}
    if notes := [event.id for event in events if event.type == _NOTE]:
        found |= {note.clock_id: note for note in visible_to(viewer, Note.objects.filter(clock_id__in=notes))}
    if answers := [event.id for event in events if event.type in _WITH_ANSWER]:
        found |= {answer.clock_id: answer for answer in visible_to(viewer, Answer.objects.filter(clock_id__in=answers))}
    if decisions:
        rows = {row.id: row for row in visible_to(viewer, Decision.objects.filter(id__in=decisions))}
        found |= {event.id: rows[event.row_id] for event in events if event.row_id in rows}
    return found
