"""Validation of bodies: typed and strict; a refusal has the place and code of every fault."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import msgspec
import orjson
from msgspec import UNSET, inspect

from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.core.fields import (
    A_KEY,
    EMPTY,
    FACT_KEY_PATTERN,
    KEY_PATTERN,
    NOT_A_KEY,
    PATTERNS,
    TASK_KEY_PATTERN,
    Shape,
    When,
    has_visible,
)
from memoryhub.interface.http.json import escape_pointer

MAX_FAULTS = 20  # shown in one response

S = TypeVar("S", bound=Shape)


def convert(data: object, shape: type[S], *, at: str = "") -> S:
    """`data` (parsed JSON) as `shape`; `at` is the pointer to it in the body, such as `/items/3`.

    Raises Invalid with every fault of the first level: unknown, read-only, missing, wrong type or out of bounds.
    There is no coercion: no string for a number, no 1.0 for 1.
    """
    rules = _rules(shape)  # first, since it refuses types that would crash the process
    try:
        made = msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        faults = _faults(data, shape, at)[:MAX_FAULTS] or [fault_of(error, at)]
        raise Invalid(errors=tuple(faults)) from None
    if rules:
        faults = []
        _complete(made, rules, at, faults)
        if faults:
            raise Invalid(errors=tuple(faults))
    return made


# Constraints that msgspec cannot express in a type: the bytes of a JSON value, the bounds of an instant. A rule takes a
# value, its parent's pointer and its name there (joined only for a fault), and returns the value to keep.
_Rule = Callable[[Any, str, str, list[FieldError]], Any]
_Rules = tuple[tuple[str, str, _Rule], ...]


def _complete(made: msgspec.Struct, rules: _Rules, at: str, faults: list[FieldError]) -> None:
    for name, encoded, rule in rules:
        value = getattr(made, name)
        if value is not None and value is not UNSET:
            setattr(made, name, rule(value, at, encoded, faults))


@cache
def _rules(shape: type[msgspec.Struct]) -> _Rules:
    """Attribute, member and rule of the fields that have one. Raises TypeError for a type that crashes msgspec."""
    found = inspect.type_info(shape)
    assert isinstance(found, inspect.StructType)
    rules = [(field.name, field.encode_name, _rule(field.type)) for field in found.fields]
    return tuple((name, encoded, rule) for name, encoded, rule in rules if rule is not None)


def _rule(kind: inspect.Type) -> _Rule | None:
    if isinstance(kind, inspect.Metadata):
        inner = _rule(kind.type)
        extra = kind.extra or {}
        return _size_rule(extra["max_bytes"], extra.get("may_be_blank", False)) if "max_bytes" in extra else inner
    if isinstance(kind, inspect.DateTimeType):
        return _utc_rule
    if isinstance(kind, inspect.StructType):
        return _nested_rule(_rules(kind.cls))
    if isinstance(kind, inspect.ListType):
        item = _rule(kind.item_type)
        return _each_rule(item) if item else None
    if isinstance(kind, inspect.UnionType):
        return _union_rule(kind)
    return None


def _union_rule(kind: inspect.UnionType) -> _Rule | None:
    members = [member.type if isinstance(member, inspect.Metadata) else member for member in kind.types]
    if any(isinstance(member, inspect.StrType) and member.pattern for member in members) and any(
        isinstance(member, inspect.DictType | inspect.ListType | inspect.SetType | inspect.VarTupleType)
        for member in members
    ):
        # msgspec 0.22 takes the pattern for the object's type during garbage collection, and the process crashes.
        raise TypeError("a text with a pattern cannot be in a union with an object or a list")
    found = [rule for rule in map(_rule, kind.types) if rule]
    if len(found) > 1:
        raise TypeError("only one member of a union may have a rule")
    return found[0] if found else None


def _size_rule(limit: int, may_be_blank: bool) -> _Rule:
    def check(value: Any, at: str, name: str, faults: list[FieldError]) -> Any:
        if len(orjson.dumps(value)) > limit:
            faults.append(FieldError(f"{at}/{name}", Code.TOO_LARGE, f"This is larger than {limit} bytes."))
        elif not may_be_blank and isinstance(value, str) and not has_visible(value):
            faults.append(FieldError(f"{at}/{name}", *EMPTY))
        return value

    return check


def _utc_rule(value: datetime, at: str, name: str, faults: list[FieldError]) -> datetime:
    try:
        return to_utc(value)
    except ValueError as error:
        faults.append(FieldError(f"{at}/{name}", Code.OUT_OF_RANGE, str(error)))
        return value


def _nested_rule(rules: _Rules) -> _Rule | None:
    def check(value: msgspec.Struct, at: str, name: str, faults: list[FieldError]) -> msgspec.Struct:
        _complete(value, rules, f"{at}/{name}", faults)
        return value

    return check if rules else None


def _each_rule(rule: _Rule) -> _Rule:
    def check(values: list[Any], at: str, name: str, faults: list[FieldError]) -> list[Any]:
        return [rule(value, f"{at}/{name}", str(index), faults) for index, value in enumerate(values)]

    return check


def to_utc(moment: datetime) -> datetime:
    """An aware datetime, in UTC. Raises ValueError for offsets beyond 14 hours and years outside 1..9999."""
    if moment.tzinfo is UTC:
        return moment
    offset = moment.utcoffset()
    if offset is None or abs(offset) > timedelta(hours=14):
        raise ValueError("The offset must be from -14:00 to +14:00.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("The year must be from 1 to 9999, in UTC.") from None


def parse_when(text: str) -> datetime:
    """An RFC 3339 instant, in UTC. Raises ValueError with the refusal's sentence."""
    try:
        return to_utc(msgspec.convert(text, When))
    except msgspec.ValidationError as error:
        raise ValueError(_explain(str(error))[1]) from None


def parse_key(text: str) -> str:
    """A key from a path or a query. Raises ValueError."""
    if not re.search(KEY_PATTERN, text):
        raise ValueError(A_KEY[1])
    return text


def parse_task_key(text: str) -> str:
    """The key of a task, likewise. Raises ValueError, for a reserved one too."""
    if not re.search(TASK_KEY_PATTERN, text):
        raise ValueError(NOT_A_KEY["task"][1])
    return text


def parse_fact_key(text: str) -> str:
    """The key of a fact, likewise."""
    if not re.search(FACT_KEY_PATTERN, text):
        raise ValueError(NOT_A_KEY["fact"][1])
    return text


def _faults(data: object, shape: type[Shape], at: str) -> list[FieldError]:
    """Field by field, since msgspec stops at the first fault."""
    if not isinstance(data, dict):
        return []
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    faults = [_unknown(name, shape, at) for name in data if name not in fields]
    for name, field in fields.items():
        if name in data:
            try:
                msgspec.convert(data[name], field.type)
            except msgspec.ValidationError as error:
                faults.append(fault_of(error, f"{at}/{name}", field.type))
        elif field.required:
            faults.append(FieldError(f"{at}/{name}", Code.MISSING, "This field is missing."))
    return faults


def _unknown(name: str, shape: type[Shape], at: str) -> FieldError:
    pointer = f"{at}/{escape_pointer(name)}"
    if name in shape.read_only:
        return FieldError(pointer, Code.READ_ONLY_FIELD, f"{name} is set by the server and cannot be sent.")
    return FieldError(pointer, Code.UNKNOWN_FIELD, "There is no such field.")


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_NAMED = ("Object missing required field `", "Object contains unknown field `")
_LONGEST = 1_000  # characters of a message that are read: it may name a key or a value of any length


def fault_of(error: msgspec.ValidationError, at: str = "", kind: Any = None) -> FieldError:
    """The one fault that msgspec found; `at` is the pointer to what was converted, `kind` its type."""
    message = str(error)
    what, is_placed, path = message.rpartition(" - at `") if message.endswith("`") else (message, "", "")
    what = what if is_placed else message
    pointer = "".join(f"/{escape_pointer(name or index)}" for name, index in _STEP.findall(path[:_LONGEST].rstrip("`")))
    code, detail = _explain(what[:_LONGEST])
    for beginning in _NAMED:
        if what.startswith(beginning):
            pointer += f"/{escape_pointer(what[len(beginning) :].removesuffix('`'))}"
    if code is Code.BAD_CHOICE and (choices := _choices(inspect.type_info(kind)) if kind else []):
        detail = f"This must be one of: {', '.join(choices)}."
    return FieldError(at + pointer, code, detail)


def _explain(what: str) -> tuple[Code, str]:
    """The code and sentence for a message of msgspec, without its place."""
    if pattern := re.search(r"matching regex (.+)$", what, re.DOTALL):
        return PATTERNS.get(pattern[1], (Code.BAD_FORMAT, "This does not have the required form."))
    for form, code, sentence in _MESSAGES:
        if re.search(form, what):
            return code, sentence or _cut(what)
    return Code.INVALID, _cut(what)


def _cut(what: str) -> str:
    # It may name a key or a value of any length.
    return what.replace("`", "")[:300] + "."


_MESSAGES: tuple[tuple[str, Code, str], ...] = (
    (r"missing required field", Code.MISSING, "This field is missing."),
    (r"unknown field", Code.UNKNOWN_FIELD, "There is no such field."),
    (r"of length >= 1$", Code.EMPTY, "This must not be empty."),
    (r"of length >=", Code.TOO_SHORT, ""),
    (r"of length (<=|==)", Code.TOO_LONG, ""),
    (r"`(int|float)` (<=|>=|<|>)|out of range", Code.OUT_OF_RANGE, ""),
    (r"timezone component|Invalid RFC3339", Code.BAD_FORMAT, "Send a time with its offset: 2026-01-31T09:30:00Z."),
    (r"Invalid UUID", Code.BAD_FORMAT, ""),
    (r"Invalid enum value", Code.BAD_CHOICE, ""),
    (r", got `", Code.WRONG_TYPE, ""),
)


def _choices(kind: inspect.Type) -> list[str]:
    """The values of an enumeration, wherever it is in the type."""
    if isinstance(kind, inspect.Metadata):
        return _choices(kind.type)
    if isinstance(kind, inspect.LiteralType):
        return [str(value) for value in kind.values]
    if isinstance(kind, inspect.EnumType):
        return [str(member.value) for member in kind.cls]
    if isinstance(kind, inspect.ListType):
        return _choices(kind.item_type)
    if isinstance(kind, inspect.UnionType):
        return [choice for member in kind.types for choice in _choices(member)]
    return []
