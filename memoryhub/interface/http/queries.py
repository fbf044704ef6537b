"""Queries by signature: a door names a Struct of parameters, parsed as strictly as a body and described once."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from memoryhub.core.fields import Key, TaskKey, When
from memoryhub.interface.http.pagination import DEFAULT_LIMIT, MAX_LIMIT
from memoryhub.interface.http.params import MAX_QUERY_BYTES, NamedLabel, Params

Q = TypeVar("Q", bound="Query")


class Query(msgspec.Struct, kw_only=True):
    """The parameters of a query: a field each, with its default when absent."""


class NoQuery(Query, kw_only=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The allowed values of a parameter, where they are known only at run time."""

    of: Callable[[], tuple[str, ...]]


def about(text: str) -> Meta:
    """A parameter's description."""
    return Meta(description=text)


Name = Annotated[str, Meta(max_length=100)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Words = list[str]


Cursor = Annotated[
    str | None,
    Meta(min_length=1, max_length=MAX_QUERY_BYTES),
    about("Where a page begins: as in `next` or `previous` of another one, with its other parameters."),
]


class PageQuery(Query, kw_only=True):
    limit: Annotated[
        int,
        Meta(ge=1, le=MAX_LIMIT),
        about("The maximum number of rows; a page ends earlier at 8 MiB."),
    ] = DEFAULT_LIMIT
    cursor: Cursor = None


class LabelQuery(Query, kw_only=True):
    label: Annotated[
        NamedLabel | None,
        about("The label, where several rows have this key: `confidential+finance`, the `+` as `%2B`."),
    ] = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a Query. `kind`: its type without None and annotations; `meta`: its bounds; `choices`: its values."""

    name: str
    kind: Any
    hint: Any
    meta: tuple[Meta, ...]
    choices: tuple[str, ...] | Choices | None
    default: Any
    description: str

    @property
    def words(self) -> tuple[str, ...] | None:
        """The allowed values, where they are enumerated."""
        return self.choices.of() if isinstance(self.choices, Choices) else self.choices


@cache
def parameters(kind: type[Query]) -> tuple[Parameter, ...]:
    """The parameters of a query, in the order of their names."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    made = [_parameter(name, hints[field.name], field.default) for name, field in fields.items()]
    return tuple(sorted(made, key=lambda one: one.name))


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    marks = _marks(hint)
    kind = _bare(hint)
    metas = tuple(mark for mark in marks if isinstance(mark, Meta))
    found = next((mark for mark in marks if isinstance(mark, Choices)), None) or _choices(kind)
    words = [meta.description for meta in metas if meta.description]
    if not words:
        raise TypeError(f"?{name} has no description: see about()")
    return Parameter(name, kind, hint, metas, found, default, words[0])


def _marks(hint: Any) -> tuple[Any, ...]:
    """All annotations, also of the parts of a union; the outermost first."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return (*marks, *_marks(inner))
    if get_origin(hint) in (Union, UnionType):
        return tuple(mark for part in get_args(hint) for mark in _marks(part))
    return ()


def _bare(hint: Any) -> Any:
    """The type without None; Key, TaskKey and When stay as they are, since they have a parser of their own."""
    if hint in (Key, TaskKey, When):
        return hint
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        (kind,) = (part for part in get_args(hint) if part is not NoneType)
        return _bare(kind)
    return hint


def _choices(kind: Any) -> tuple[str, ...] | None:
    item = get_args(kind)[0] if get_origin(kind) is list else kind
    if get_origin(item) is Literal:
        return get_args(item)
    if isinstance(item, type) and issubclass(item, enum.Enum):
        return tuple(member.value for member in item)
    return None


def params_of(query: bytes | str, kind: type[Query]) -> Params:
    """The query string, for read_query(). Raises UriTooLong, Invalid."""
    found = parameters(kind)
    lists = {one.name for one in found if get_origin(one.kind) is list}
    return Params(query, {one.name for one in found}, lists)


def read_query(params: Params, kind: type[Q]) -> Q:
    """A query as a door's Struct. Raises Invalid, as the getters of Params do."""
    made = {}
    for parameter in parameters(kind):
        value = _read(params, parameter)
        if value is not None:
            made[_attribute(kind, parameter.name)] = value
    return kind(**made)


@cache
def _attribute(kind: type[Query], name: str) -> str:
    return next(field.name for field in msgspec.structs.fields(kind) if field.encode_name == name)


def _read(params: Params, wanted: Parameter) -> Any:
    name, kind = wanted.name, wanted.kind
    if kind is TaskKey:
        return params.task_key(name)
    if kind is Key:
        return params.key(name)
    if kind is When or kind is datetime:
        return params.when(name)
    if kind is NamedLabel:
        return params.label(name)
    if get_origin(kind) is list:
        return params.words(name, wanted.words)
    if wanted.words is not None:
        return params.choice(name, wanted.words)
    return _PLAIN[kind](params, wanted)


def _integer(params: Params, wanted: Parameter) -> int | None:
    low = next((meta.ge for meta in wanted.meta if meta.ge is not None), 0)
    high = next((meta.le for meta in wanted.meta if meta.le is not None), 2**53)
    return params.integer(wanted.name, low=int(low), high=int(high))


def _text(params: Params, wanted: Parameter) -> str | None:
    longest = next((meta.max_length for meta in wanted.meta if meta.max_length is not None), 1000)
    return params.text(wanted.name, longest=longest)


_PLAIN: dict[Any, Callable[[Params, Parameter], Any]] = {
    bool: lambda params, wanted: params.boolean(wanted.name),
    float: lambda params, wanted: params.fraction(wanted.name),
    int: _integer,
    str: _text,
}
