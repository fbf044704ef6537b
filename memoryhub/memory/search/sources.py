"""What is searched: a function a type, that reads rows as the index takes them. A new type is a line in SOURCES."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import BYTES
from memoryhub.core.db.statements import run
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.memory.models import Decision, Fact, Learning, Observation
from memoryhub.memory.search.terms import Source
from memoryhub.memory.search.tokenizer import plain_text


def _text(row: Any, *names: str) -> str:
    """These members of a row's text, one below the other. What does not open has no words."""
    text = read_text(row)
    return "\n".join(plain_text(text[name]) for name in names if text.get(name))


def _source(type: str, row: Any, text: str, **more: Any) -> Source:
    more = {
        "audience": None,
        "tags": [],
        "importance": None,
        "created_at": row.created_at,
        "expires_at": None,
    } | more
    return Source(
        id=row.id,
        type=type,
        label_id=row.label_id,
        is_sealed=label_by_id(row.label_id).is_sealed,
        task_id=row.task_id,
        author_id=row.author_id,
        text=text,
        **more,
    )


def _observation(row: Observation) -> Source:
    return _source(
        "observation",
        row,
        _text(row, "content"),
        audience=row.author_id if row.private else None,
        tags=row.tags,
        importance=row.importance,
        expires_at=None if row.pinned else row.expires_at,
    )


def _decision(row: Decision) -> Source:
    return _source("decision", row, _text(row, "decision", "reasoning"))


def _fact(row: Fact) -> Source:
    text = f"{row.key}\n{_text(row, 'value')}"
    return _source("fact", row, text, created_at=row.changed_at, expires_at=row.expires_at)


def _learning(row: Learning) -> Source:
    return _source("learning", row, _text(row, "details", "context"))


# Type -> its rows and how one is read. The type is also the `row_type` of its events.
SOURCES: Mapping[str, tuple[QuerySet[Any], Callable[[Any], Source]]] = {
    "observation": (Observation._default_manager.all(), _observation),
    "decision": (Decision._default_manager.all(), _decision),
    "fact": (Fact._default_manager.filter(deleted=False), _fact),
    "learning": (Learning._default_manager.all(), _learning),
}
TYPES = tuple(SOURCES)


class Size(NamedTuple):
    """A row that is to be read, the event that made it, and its bytes."""

    id: UUID
    event: UUID
    bytes: int


def changed(type: str, events: Sequence[UUID], ids: Sequence[UUID]) -> list[Size]:
    """The rows of a type that these events made, and those with these ids; some of them twice."""
    sizes = _sizes(type)
    made = run(f"{sizes} where r.event_id = any (%(events)s::uuid[])", {"events": list(events)}) if events else []
    named = run(f"{sizes} where r.id = any (%(ids)s::uuid[])", {"ids": list(ids)}) if ids else []
    return [Size(*row) for row in (*made, *named)]


def after(type: str, last: UUID | None, size: int) -> list[Size]:
    """The next rows of a type, in the order of their ids, for making the index anew."""
    text = f"{_sizes(type)} where r.id > %(last)s::uuid order by r.id limit %(size)s::int"
    return [Size(*row) for row in run(text, {"last": last or UUID(int=0), "size": size})]


def _sizes(type: str) -> str:
    table = SOURCES[type][0].model._meta.db_table
    return f"select r.id, r.event_id, {BYTES} from {table} r"


def read(type: str, ids: Sequence[UUID]) -> list[Source]:
    """These rows as they are now, without those that are gone."""
    rows, source = SOURCES[type]
    return [source(row) for row in rows.filter(id__in=ids)]
