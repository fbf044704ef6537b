"""The members that every row of the memory is returned with, and how a schema becomes columns.

A noun is declared once: its Struct is the answer of every door, its OpenAPI schema and the source of its SELECT. A
field is the column of its name in the row `r`, unless its annotation says otherwise: an expression (Sql), or a member
of the row's text (InText), which is in `body`, or sealed in `sealed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from memoryhub.core.access.clearance import VISIBLE
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.fields import Schema
from memoryhub.core.models import Labelled
from memoryhub.core.models import Sensitivity as Level
from memoryhub.core.secrecy.sealing import open_text


def one_of(*words: str) -> Meta:
    """For a string that is one of these words."""
    return Meta(extra_json_schema={"enum": list(words)})


@dataclass(frozen=True, slots=True)
class Sql:
    """A field that is an SQL expression over the row `r`."""

    expression: str


@dataclass(frozen=True, slots=True)
class InText:
    """A field that is a member of the row's text. `absent`: its value where the text lacks it, as JSON."""

    absent: bytes = b"null"


class _Opened:
    """A field that is filled when the row is shown, from its label or by its kind."""


OPENED = _Opened()

# Of a row `r`. Looked up per row, since a plain join lets the planner start at the ledger and sort a task's memory.
SEQ = "(select s.seq from event_seq s where s.event_id = r.event_id)"
# The same as a lateral join: an expression would be evaluated twice where it is also a condition. OFFSET 0 keeps the
# planner from flattening it.
CLOCK = "left join lateral (select q.seq from event_seq q where q.event_id = r.event_id offset 0) s on true"
AUTHOR = "(select m.name from membership m where m.id = r.author_id)"
TASK_KEY = f"(select t.key from task t where t.id = r.task_id and t.{VISIBLE})"

# A time with its offset, as in every answer (RFC 3339, in UTC).
Instant = Annotated[datetime, Meta(tz=True)]
Sensitivity = Annotated[str, one_of(*(level.label for level in Level))]
OfTask = Annotated[str | None, Sql(TASK_KEY)]
# JSON as the database returns it, never parsed here.
Json = Annotated[Raw, InText()]
JsonObject = Annotated[Raw, InText(b"{}"), Meta(extra_json_schema={"type": "object"})]


class _Marks(Schema, kw_only=True):
    unavailable: bool | UnsetType = UNSET
    omitted: list[str] | UnsetType = UNSET


class Row(_Marks):
    """The members of every row. `unavailable`: its sealed text does not open (moved, damaged, or key erased).

    `omitted`: the scope that the key lacks to read the row; then only ids, states and what the key sent are filled.
    """

    id: UUID
    seq: Annotated[int, Sql(SEQ)]
    sensitivity: Annotated[Sensitivity, OPENED]
    compartments: Annotated[list[str], OPENED]
    author: Annotated[str, Sql(AUTHOR)]
    created_at: Instant

    model: ClassVar[type[Labelled]]
    # The column of the event that makes it memory; and what else of the row `r` is required.
    clock: ClassVar[str] = "event_id"
    stands: ClassVar[str] = ""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a schema is read. `columns`: one per field, in order; `decoder`: from the JSON of its text to a Struct."""

    columns: tuple[str, ...]
    decoder: msgspec.json.Decoder[Any]
    absent: msgspec.Struct
    members: tuple[str, ...]  # of its text
    nullable: frozenset[str]  # those whose empty text is null


@cache
def layout(schema: type[Row]) -> Layout:
    """The layout of a schema, computed once."""
    columns: list[str] = []
    members: list[tuple[str, Any, Any]] = []
    nullable = set()
    hints = get_type_hints(schema, include_extras=True)
    for field in msgspec.structs.fields(schema):
        marks = list(_marks(hints[field.name]))
        if text := next((mark for mark in marks if isinstance(mark, InText)), None):
            parts = _parts(hints[field.name])
            kind: Any = Raw if Raw in parts else Any
            absent = Raw(text.absent) if kind is Raw else msgspec.json.decode(text.absent)
            members.append((field.name, kind, msgspec.field(default=absent)))
            if type(None) in parts:
                nullable.add(field.name)
            columns.append("null")
        elif sql := next((mark for mark in marks if isinstance(mark, Sql)), None):
            columns.append(sql.expression)
        elif OPENED in marks:
            columns.append("null")
        elif field.required:
            columns.append(f"r.{field.name}")
    text_type = msgspec.defstruct(f"{schema.__name__}Text", members)
    return Layout(
        tuple(columns), msgspec.json.Decoder(text_type), text_type(), text_type.__struct_fields__, frozenset(nullable)
    )


def _marks(hint: Any) -> Sequence[Any]:
    return getattr(hint, "__metadata__", ())


def _parts(hint: Any) -> tuple[Any, ...]:
    return (hint, *(part for arg in get_args(hint) for part in _parts(arg)))


def clock(schema: type[Row]) -> str:
    """The join that gives the `seq` (`s.seq`) of a row `r`."""
    return CLOCK.replace("r.event_id", f"r.{schema.clock}")


def select(schema: type[Row], *, change: str | None = None, **named: str) -> str:
    """The columns of a row `r` that Stored takes. `named`: other expressions for some fields (`seq="s.seq"`)."""
    model = schema.model
    version = "r.text_version" if any(field.name == "text_version" for field in model._meta.fields) else "1"
    names = [field.name for field in msgspec.structs.fields(schema)]
    columns = [named.get(name, column) for name, column in zip(names, layout(schema).columns, strict=False)]
    return ", ".join(
        ["r.label_id", "r.author_id", change or f"r.{schema.clock}", version, "r.body", "r.sealed", *columns]
    )


def copied(row: Row, schema: type[R], **more: Any) -> R:
    """The members of a row as another schema, whose further members are `more`."""
    return schema(**{name: getattr(row, name) for name in schema.__struct_fields__ if name not in more}, **more)


class Stored(Generic[R]):
    """A row as it was read: its answer, whose text is opened only when it is shown, and what opening it takes.

    `change`: the id of the event that made it, or of its newest change; `author_id`: of the membership.
    """

    __slots__ = ("_plain", "answer", "author_id", "body", "change", "label_id", "sealed", "text_version")
    answer: R

    def __init__(
        self,
        schema: type[R],
        label_id: int,
        author_id: UUID,
        change: UUID,
        text_version: int,
        body: Any,
        sealed: bytes | None,
        *fields: Any,
    ) -> None:
        self.label_id, self.author_id, self.change, self.text_version = label_id, author_id, change, text_version
        self.body, self.sealed = body, sealed
        self.answer = schema(*fields)
        self._plain: bytes | UnsetType | None = UNSET

    @property
    def id(self) -> UUID:
        return self.answer.id

    @property
    def seq(self) -> int:
        return self.answer.seq

    @property
    def text_of(self) -> tuple[str, UUID]:
        """The table and id of the row that holds the text, to which sealed text is bound."""
        return self.answer.model._meta.db_table, self.answer.id

    def show(self) -> R:
        """The answer, with its label and its text; opening sealed text is recorded (once per transaction)."""
        answer = self.show_closed()
        found = layout(type(answer))
        plain = self.open()
        if plain is None:
            answer.unavailable = True
        text = found.absent if plain is None else found.decoder.decode(plain)
        for name in found.members:
            value = getattr(text, name)
            setattr(answer, name, None if value == "" and name in found.nullable else value)
        return answer

    def show_closed(self) -> R:
        """The answer with its label, and without its text."""
        label = label_by_id(self.label_id)
        self.answer.sensitivity, self.answer.compartments = label.level, list(label.compartments)
        return self.answer

    def as_dict(self) -> dict[str, Any]:
        """As it is shown, as a dict with its JSON parsed: for pages."""
        found = {name: value for name, value in msgspec.structs.asdict(self.show()).items() if value is not UNSET}
        return {name: msgspec.json.decode(value) if isinstance(value, Raw) else value for name, value in found.items()}

    def open(self) -> str | bytes | None:
        """The row's text as JSON; None when it does not open. Opening sealed text is recorded."""
        if self.sealed is None:
            plain: str | bytes = self.body
            return plain
        if self._plain is UNSET:
            self._plain = open_text(*self.text_of, self.label_id, bytes(self.sealed), self.text_version)
        return self._plain

    def read(self) -> dict[str, Any]:
        """The row's text as a dict; `unavailable` when it does not open. Recorded likewise."""
        plain = self.open()
        found: dict[str, Any] = {"unavailable": True} if plain is None else msgspec.json.decode(plain)
        return found
