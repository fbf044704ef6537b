"""Storing a row of any kind: its label, its columns, its INSERT, its event; and replacing its text."""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from msgspec import UnsetType
from psycopg.types.json import Jsonb

from memoryhub.core.access.labels import LabelRef, ensure_label, label_by_id
from memoryhub.core.db.statements import run
from memoryhub.core.errors import not_found_at
from memoryhub.core.fields import NewRow
from memoryhub.core.ids import new_id
from memoryhub.core.ledger import events
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
    """The task that a new row names. Raises NoSuchTask (at `/task`), Conflict (ambiguous_key)."""
    if new.task is None:
        return None
    with not_found_at("/task"):
        return ref_by_key(viewer, new.task)


def label_for(viewer: Viewer, new: NewRow, task: TaskRef | None) -> LabelRef:
    """The label that a new row names, else the task's, else internal. Raises Forbidden above one's clearance."""
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
    """The members of the row's text that `new` has."""
    return {name: getattr(new, name) for name in _members(schema, type(new))}


@cache
def _members(schema: type[Row], new: type[msgspec.Struct]) -> tuple[str, ...]:
    members = layout(schema).absent.__struct_fields__
    return tuple(name for name in new.__struct_fields__ if name in members)


def columns_of(
    viewer: Viewer,
    schema: type[Row],
    label: LabelRef,
    new: msgspec.Struct,
    text: dict[str, Any],
    *,
    row_id: UUID,
    event_id: UUID,
    text_version: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A new row by column: its author, event and label; its text; the members of `new` that are columns; and `more`."""
    model = schema.model
    row: dict[str, Any] = {
        "id": row_id,
        "team_id": viewer.team,
        "label_id": label.id,
        "sensitivity": label.sensitivity,
        "author_id": viewer.membership,
        "event_id": event_id,
        **text_columns(model._meta.db_table, row_id, label, text, text_version),
    }
    names, has_version = _plain(model, type(new))
    if has_version:
        row["text_version"] = text_version
    for name in names:
        row[name] = getattr(new, name)
    row.update(more)
    return row


@cache
def _plain(model: type[Labelled], new: type[msgspec.Struct]) -> tuple[tuple[str, ...], bool]:
    """The members of a new row that are columns of its table, and whether its text has versions."""
    known = column_types(model)
    names = tuple(name for name in new.__struct_fields__ if name in known and name not in _COMMON)
    return names, "text_version" in known


_COMMON = frozenset({"id", "team_id", "label_id", "sensitivity", "body", "sealed", "author_id", "event_id"})


@cache
def column_types(model: type[Labelled]) -> dict[str, str]:
    """The type of each column of a table, without its length: a cast to varchar(n) truncates silently."""
    found = {str(field.column): str(field.db_type(connection)) for field in model._meta.concrete_fields}
    return {name: kind.partition("(")[0] + ("[]" if kind.endswith("[]") else "") for name, kind in found.items()}


def insert(model: type[Labelled], row: dict[str, Any]) -> bool:
    """Store a row; False when it conflicts with another (by its `client_ref`, for example)."""
    params = {name: _adapted(model, name, value) for name, value in row.items()}
    return bool(run(_insert_one(model, tuple(row)), params))


def store(
    viewer: Viewer,
    verb: str,
    schema: type[Row],
    label: LabelRef,
    new: NewRow,
    *,
    task_id: UUID | None,
    data: dict[str, Any] | None = None,
    event_recipients: Sequence[UUID] | None = None,
    **more: Any,
) -> UUID | None:
    """Store a new row with its event, which has `data` and may be for some members only; `more`: further columns.

    Returns the row's id; None, without an event, when it conflicts with another.
    """
    row_id = new_id()
    ids: dict[str, Any] = {"row_id": row_id, "event_id": new_id(), "task_id": task_id}
    if not insert(schema.model, columns_of(viewer, schema, label, new, text_of(schema, new), **ids, **more)):
        return None
    row_type = schema.model._meta.db_table
    events.append(viewer, verb, label=label.id, row_type=row_type, recipients=event_recipients, data=data, **ids)
    return row_id


def set_text(row: Labelled, text: dict[str, Any]) -> None:
    """Replace a row's free text, sealed where its label requires it."""
    row.text_version += 1
    columns = text_columns(row._meta.db_table, row.id, label_by_id(row.label_id), text, row.text_version)
    row.body, row.sealed = columns["body"], columns["sealed"]


def _adapted(model: type[Labelled], name: str, value: Any) -> Any:
    if value is None:
        return None
    if column_types(model)[name] == "jsonb":
        return Jsonb(value)
    return value.value if isinstance(value, Enum) else value


@cache
def _insert_one(model: type[Labelled], names: tuple[str, ...]) -> str:
    kinds = column_types(model)
    values = ", ".join(f"%({name})s::{kinds[name]}" for name in names)
    return (
        f"insert into {model._meta.db_table} ({', '.join(names)}) values ({values}) on conflict do nothing returning id"
    )


@cache
def insert_many(model: type[Labelled], names: tuple[str, ...], *, unique: bool = False, returning: str = "") -> str:
    """The statement that stores any number of rows, passed as one JSON text (`rows`): it is constant, so prepared once,
    and has one parameter. Bytes are base64 in JSON. `unique`: rows may conflict with others; the statement returns the
    ids of those that were stored. `returning`: what it returns of each row `r`, where none may.
    """
    kinds = column_types(model)
    wanted = ", ".join(f"decode({name}, 'base64')" if kinds[name] == "bytea" else name for name in names)
    typed = ", ".join(f"{name} {'text' if kinds[name] == 'bytea' else kinds[name]}" for name in names)
    text = (
        f"insert into {model._meta.db_table} as r ({', '.join(names)}) select {wanted}"
        f" from jsonb_to_recordset(%(rows)s::jsonb) as n({typed})"
    )
    if unique:
        return f"{text} on conflict do nothing returning id"
    return f"{text} returning {returning}" if returning else text


def repeated(viewer: Viewer, model: type[Labelled], label: LabelRef, client_ref: str | None) -> UUID | None:
    """The author's own row of this label and `client_ref`; the answer then depends on the event that made it."""
    if client_ref is None:
        return None
    found = run(
        f"select id, event_id from {model._meta.db_table} where author_id = %(author)s::uuid"
        " and label_id = %(label)s::int and client_ref = %(client_ref)s::varchar",
        {"author": viewer.membership, "label": label.id, "client_ref": client_ref},
    )
    return rest_on(found)


def rest_on(found: Iterable[tuple[Any, ...]]) -> UUID | None:
    """The id of the first of these rows (id, event), on whose event the answer then depends; None without rows."""
    for row_id, event_id in found:
        current().depends_on_event = event_id
        return UUID(str(row_id))
    return None
