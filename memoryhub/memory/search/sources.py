"""What is indexed: the rows of each searched kind (memory.kinds), as the index takes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from msgspec import Raw

from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import BYTES
from memoryhub.core.db.statements import run
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.memory.kinds import KINDS, Kind
from memoryhub.memory.search.terms import Source
from memoryhub.memory.search.tokenizer import plain_text


def searched_types() -> tuple[str, ...]:
    """The names of the kinds that are searched, which are the types of hits."""
    return tuple(kind.name for kind in KINDS.values() if kind.searched)


def indexed_text(kind: Kind, text: dict[str, Any], row: Any) -> str:
    """The indexed text of a row, one member per line. `text`: its free text; what does not open has no words."""
    values = [text[name] if name in text else getattr(row, name, None) for name in kind.searched]
    return "\n".join(plain_text(value) for value in values if not isinstance(value, Raw) and value)


def _source(kind: Kind, row: Any) -> Source:
    is_kept = getattr(row, "pinned", False)
    return Source(
        id=row.id,
        type=kind.name,
        label_id=row.label_id,
        is_sealed=label_by_id(row.label_id).is_sealed,
        audience=row.author_id if getattr(row, "private", False) else None,
        task_id=row.task_id,
        author_id=row.author_id,
        tags=getattr(row, "tags", []),
        importance=getattr(row, "importance", None),
        created_at=getattr(row, "changed_at", row.created_at),
        expires_at=None if is_kept else getattr(row, "expires_at", None),
        text=indexed_text(kind, read_text(row), row),
    )


def _rows(kind: Kind) -> QuerySet[Any]:
    model: Any = kind.schema.model
    rows: QuerySet[Any] = model._default_manager.all()
    if kind.schema.stands:
        stands = kind.schema.stands.replace("r.", f"{model._meta.db_table}.")
        rows = rows.filter(RawSQL(stands, (), output_field=BooleanField()))  # noqa: S611  (a constant)
    return rows.filter(deleted=False) if hasattr(model, "deleted") else rows


class Size(NamedTuple):
    """A row that is to be read, the event that made it, and its bytes."""

    id: UUID
    event: UUID
    bytes: int


def changed(type: str, events: Sequence[UUID], ids: Sequence[UUID]) -> list[Size]:
    """The rows of a type that these events made, and those with these ids; a row may occur twice."""
    sizes = _sizes(type)
    clock = KINDS[type].schema.clock
    made = run(f"{sizes} where r.{clock} = any (%(events)s::uuid[])", {"events": list(events)}) if events else []
    named = run(f"{sizes} where r.id = any (%(ids)s::uuid[])", {"ids": list(ids)}) if ids else []
    return [Size(*row) for row in (*made, *named)]


def after(type: str, last: UUID | None, size: int) -> list[Size]:
    """The next `size` rows of a type after the id `last`, in the order of their ids, for a rebuild."""
    text = f"{_sizes(type)} where r.id > %(last)s::uuid order by r.id limit %(size)s::int"
    return [Size(*row) for row in run(text, {"last": last or UUID(int=0), "size": size})]


def _sizes(type: str) -> str:
    schema = KINDS[type].schema
    return f"select r.id, r.{schema.clock}, {BYTES} from {schema.model._meta.db_table} r"


def read(type: str, ids: Sequence[UUID]) -> list[Source]:
    """These rows as they are now, without those that no longer exist."""
    kind = KINDS[type]
    return [_source(kind, row) for row in _rows(kind).filter(id__in=ids)]
