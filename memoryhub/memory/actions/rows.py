"""What storing a row takes, whatever its kind: its label, its columns, its INSERT."""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import JSONField
from msgspec import UnsetType
from psycopg.types.json import Jsonb

from memoryhub.core.access.labels import LabelRef, ensure_label, label_by_id
from memoryhub.core.db.statements import run
from memoryhub.core.errors import not_found_at
from memoryhub.core.fields import NewRow
from memoryhub.core.models import Labelled, Sensitivity
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import Row, layout
from memoryhub.memory.selectors.tasks import Ref, TaskRef, ref_by_key


def level_value(name: str | int | UnsetType | None) -> int | None:
    """The number of a sensitivity; None where none was named."""
    if name is None or isinstance(name, UnsetType):
        return None
    return Sensitivity[name.upper()].value if isinstance(name, str) else name


def task_of(viewer: Viewer, new: Any) -> Ref | None:
    """The task that a new row names. Raises NoSuchTask (of `/task`), Conflict (ambiguous_key)."""
    if new.task is None:
        return None
    with not_found_at("/task"):
        return ref_by_key(viewer, new.task)


def label_for(viewer: Viewer, new: NewRow, task: TaskRef | None) -> LabelRef:
    """The label of a new row: what it names, else the task's, else internal. Raises Forbidden above one's clearance."""
    sensitivity = level_value(new.sensitivity)
    compartments: Sequence[str] | None = None if isinstance(new.compartments, UnsetType) else new.compartments
    base = label_by_id(task.label_id) if task is not None else None
    if sensitivity is None and compartments is None and base is not None:
        return base
    if sensitivity is None:
        sensitivity = base.sensitivity if base else min(viewer.clearance, Sensitivity.INTERNAL)
    if compartments is None:
        compartments = base.compartments if base else ()
    return ensure_label(viewer, sensitivity, compartments)


def text_of(schema: type[Row], new: msgspec.Struct) -> dict[str, Any]:
    """The members of the row's text that the new row brings."""
    members = layout(schema).absent.__struct_fields__
    return {name: getattr(new, name) for name in new.__struct_fields__ if name in members}


def columns_of(
    viewer: Viewer,
    schema: type[Row],
    label: LabelRef,
    new: msgspec.Struct | None,
    text: dict[str, Any],
    *,
    row_id: UUID,
    event_id: UUID,
    text_version: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A new row by its columns: who, when and under which label; its text; what of `new` is a column; and `more`."""
    model = schema.model
    known = column_types(model)
    plain = {} if new is None else {name: _value(new, name) for name in new.__struct_fields__ if name in known}
    return {
        "id": row_id,
        "team_id": viewer.team,
        "label_id": label.id,
        "sensitivity": label.sensitivity,
        **text_columns(model._meta.db_table, row_id, label, text, text_version),
        "author_id": viewer.membership,
        "event_id": event_id,
        **({"text_version": text_version} if "text_version" in known else {}),
        **{name: value for name, value in plain.items() if name not in _COMMON},
        **more,
    }


def _value(new: msgspec.Struct, name: str) -> Any:
    value = getattr(new, name)
    return value.value if isinstance(value, Enum) else value


_COMMON = frozenset({"id", "team_id", "label_id", "sensitivity", "body", "sealed", "author_id", "event_id"})


@cache
def column_types(model: type[Labelled]) -> dict[str, str]:
    """The type of each column of a table, without its length: a cast to that would cut a text."""
    found = {str(field.column): str(field.db_type(connection)) for field in model._meta.concrete_fields}
    return {name: kind.partition("(")[0] + ("[]" if kind.endswith("[]") else "") for name, kind in found.items()}


def insert(model: type[Labelled], row: dict[str, Any]) -> bool:
    """Store a row; False where another stands in its way (a `client_ref`, say)."""
    return bool(run(*insertion(model, row)))


def insertion(model: type[Labelled], row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement that stores a row, and gives its id back, and its parameters."""
    return _insert_one(model, tuple(row)), {
        name: Jsonb(value) if name in json_columns(model) and value is not None else value
        for name, value in row.items()
    }


@cache
def json_columns(model: type[Labelled]) -> frozenset[str]:
    """The columns that hold JSON."""
    return frozenset(str(field.column) for field in model._meta.concrete_fields if isinstance(field, JSONField))


@cache
def _insert_one(model: type[Labelled], names: tuple[str, ...]) -> str:
    kinds = column_types(model)
    values = ", ".join(f"%({name})s::{kinds[name]}" for name in names)
    return (
        f"insert into {model._meta.db_table} ({', '.join(names)}) values ({values}) on conflict do nothing returning id"
    )


@cache
def insert_many(model: type[Labelled], names: tuple[str, ...], *, unique: bool) -> str:
    """The statement that stores any number of rows, which come as one JSON text (`rows`): constant, prepared once, and
    one value to adapt. In JSON bytes are base64. `unique`: others may stand in their way; it gives the ids of
    those that were stored.
    """
    kinds = column_types(model)
    wanted = ", ".join(f"decode({name}, 'base64')" if kinds[name] == "bytea" else name for name in names)
    typed = ", ".join(f"{name} {'text' if kinds[name] == 'bytea' else kinds[name]}" for name in names)
    text = (
        f"insert into {model._meta.db_table} ({', '.join(names)}) select {wanted}"
        f" from jsonb_to_recordset(%(rows)s::jsonb) as r({typed})"
    )
    return f"{text} on conflict do nothing returning id" if unique else text


def repeated(viewer: Viewer, model: type[Labelled], label: LabelRef, client_ref: str | None) -> UUID | None:
    """The author's own row of this label and `client_ref`; the answer then rests on the event that made it."""
    if client_ref is None:
        return None
    found = run(
        f"select id, event_id from {model._meta.db_table} where author_id = %(author)s::uuid"
        " and label_id = %(label)s::int and client_ref = %(client_ref)s::varchar",
        {"author": viewer.membership, "label": label.id, "client_ref": client_ref},
    )
    return rest_on(found)


def rest_on(found: Iterable[tuple[Any, ...]]) -> UUID | None:
    """The first of these rows (id, event), on whose event the answer rests; None where there is none."""
    for row_id, event_id in found:
        current().depends_on_event = event_id
        return UUID(str(row_id))
    return None
