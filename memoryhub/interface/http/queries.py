"""Queries by signature: a door names a Struct of parameters, parsed as strictly as a body and described once."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
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
    """A field of a Query, its `attribute`. `kind`: its type without None and annotations; `choices`: its values.

    `least`, `most`: the bounds of a number; `most`: the characters of a text.
    """

    name: str
    attribute: str
    kind: Any
    least: int
    most: int
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
    made = [_parameter(field, hints[field.name]) for field in msgspec.structs.fields(kind)]
    return tuple(sorted(made, key=lambda one: one.name))


def _parameter(field: msgspec.structs.FieldInfo, hint: Any) -> Parameter:
    marks, kind = _marks(hint), _bare(hint)
    metas = [mark for mark in marks if isinstance(mark, Meta)]
    least = next((meta.ge for meta in metas if meta.ge is not None), 0)
    mosts = [most for meta in metas for most in (meta.le, meta.max_length) if most is not None]
    most = mosts[0] if mosts else 2**53 if kind is int else 1000
    choices = next((mark for mark in marks if isinstance(mark, Choices)), None) or _choices(kind)
    words = next((meta.description for meta in metas if meta.description), None)
    if words is None:
        raise TypeError(f"?{field.encode_name} has no description: see about()")
    return Parameter(field.encode_name, field.name, kind, int(least), int(most), choices, field.default, words)


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
    return Params(query, *_names(kind))


@cache
def _names(kind: type[Query]) -> tuple[frozenset[str], frozenset[str]]:
    """Of all parameters, and of those that may be repeated."""
    found = parameters(kind)
    return frozenset(one.name for one in found), frozenset(one.name for one in found if get_origin(one.kind) is list)


def read_query(params: Params, kind: type[Q]) -> Q:
    """A query as a door's Struct. Raises Invalid, as the getters of Params do."""
    return kind(**{one.attribute: _read(params, one) for one in parameters(kind) if one.name in params})


def _read(params: Params, wanted: Parameter) -> Any:
    name, kind = wanted.name, wanted.kind
    if kind is TaskKey:
        return params.task_key(name)
    if kind is Key:
        return params.key(name)
    if kind is When:
        return params.when(name)
    if kind is NamedLabel:
        return params.label()
    if get_origin(kind) is list:
        return params.words(name, wanted.words)
    if wanted.words is not None:
        return params.choice(name, wanted.words)
    if kind is bool:
        return params.boolean(name)
    if kind is float:
        return params.fraction(name)
    if kind is int:
        return params.integer(name, low=wanted.least, high=wanted.most)
    return params.text(name, longest=wanted.most)
