"""The entries of a timeline, as the desk shows them: rows of the memory, and events, each as an `Item`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

from escalations.models import Answer, Note
from memoryhub.core import work
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.models import Event, Membership, Role
from memoryhub.core.secrecy.sealing import UNAVAILABLE, read_text, record_read, unseal
from memoryhub.core.viewers import Viewer
from memoryhub.memory.kinds import KINDS, kind_of
from memoryhub.memory.models import Decision
from memoryhub.memory.schemas.rows import Stored

OF_DECISIONS = ("decision.revoke", "decision.outcome")
NOTE = "escalation.note"
_WITH_ANSWER = ("escalation.decide", "escalation.finish", "escalation.cancel")
Words = Note | Answer | Decision


class Opening(Enum):
    """What becomes of the sealed text of an entry."""

    CLOSED = auto()  # it is left sealed: for what several viewers share
    COMPARED = auto()  # it is opened, to be compared and not shown: no reading
    SHOWN = auto()  # it is opened for the viewer: a reading, which is recorded


@dataclass(frozen=True, slots=True)
class Item:
    """One entry. `text` None: confidential, and not opened for this reader. `what`: the type of a change's event.

    `about`: the decision that this one replaced, or that the change is of.
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
    expires_at: datetime | None = None

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


def items_of(viewer: Viewer, rows: Sequence[Any], opening: Opening) -> list[Item]:
    """Rows of the memory and events (with `actor` and `seq`) as items, in order."""
    events = [row for row in rows if isinstance(row, Event)]
    words = _words(viewer, events)
    authors = {row.author_id for row in rows if not isinstance(row, Event)}
    roles = dict(Membership.objects.filter(id__in=authors).values_list("id", "role")) if authors else {}
    made = []
    for row in rows:
        work.check()
        if isinstance(row, Event):
            made.append(_of_event(row, words.get(row.id), opening))
        else:
            made.append(_of_memory(row, roles.get(row.author_id, Role.AGENT), opening))
    return made


def _of_memory(row: Stored[Any], role: str, opening: Opening) -> Item:
    found: Any = row.answer
    kind = kind_of(found).name
    private = getattr(found, "private", False)
    if private and opening is Opening.SHOWN:
        record_read(found.model._meta.db_table, row.id, row.label_id, "private")
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
        text=_text_of_memory(row, opening),
        tags=getattr(found, "tags", ()),
        importance=getattr(found, "importance", None),
        private=private,
        pinned=getattr(found, "pinned", False),
        status=getattr(found, "status", ""),
        outcome=getattr(found, "outcome", None) or "",
        about=getattr(found, "supersedes", None),
        expires_at=None if getattr(found, "pinned", False) else getattr(found, "expires_at", None),
    )


def _of_event(event: Event, words: Words | None, opening: Opening) -> Item:
    of_decision = event.type in OF_DECISIONS
    data = {**event.data, "verdict": words.verdict} if isinstance(words, Answer) else event.data
    return Item(
        id=event.id,
        kind="note" if event.type == NOTE else "state",
        seq=event.seq,  # type: ignore[attr-defined]
        at=event.at,
        author=event.actor.name,
        author_id=event.actor_id,
        role=event.actor.role,
        label=str(label_by_id(event.label_id)),
        what=event.type,
        text=_text_of_event(event, words, opening) if words is not None else {},
        data=data,
        people_only=event.people,
        about=event.row_id if of_decision else None,
        outcome=event.data.get("outcome", "") if of_decision else "",
    )


def _text_of_memory(row: Stored[Any], opening: Opening) -> dict[str, Any] | None:
    if row.sealed is None or opening is Opening.SHOWN:
        return row.read()
    if opening is Opening.CLOSED:
        return None
    return unseal(*row.text_of, row.label_id, bytes(row.sealed), row.text_version)


def _text_of_event(event: Event, words: Words, opening: Opening) -> dict[str, Any] | None:
    if words.sealed is None or opening is Opening.SHOWN:
        text = read_text(words)
    elif opening is Opening.CLOSED:
        return None
    else:
        text = unseal(words._meta.db_table, words.id, words.label_id, bytes(words.sealed), words.text_version)
    if not isinstance(words, Decision) or text == UNAVAILABLE:
        return text
    if event.type == "decision.revoke":
        return {"message": text.get("revoke_reason", "")}
    # Only the last word on an outcome is kept, and it is not to be put into the mouth of who said otherwise before.
    return {"message": text.get("outcome_note", "")} if event.data.get("outcome") == words.outcome else {}


def _words(viewer: Viewer, events: Iterable[Event]) -> dict[UUID, Words]:
    """Event id -> the note, answer or decision that it is about."""
    decisions = {event.row_id for event in events if event.type in OF_DECISIONS and event.row_id}
    found: dict[UUID, Words] = {}
    if notes := [event.id for event in events if event.type == NOTE]:
        found |= {note.clock_id: note for note in visible_to(viewer, Note.objects.filter(clock_id__in=notes))}
    if answers := [event.id for event in events if event.type in _WITH_ANSWER]:
        found |= {answer.clock_id: answer for answer in visible_to(viewer, Answer.objects.filter(clock_id__in=answers))}
    if decisions:
        rows = {row.id: row for row in visible_to(viewer, Decision.objects.filter(id__in=decisions))}
        found |= {event.id: rows[event.row_id] for event in events if event.row_id in rows}
    return found
