"""Query strings, as strict as bodies: known parameters, typed, each once."""

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

from memoryhub.core.errors import Code, FieldError, Invalid, UriTooLong
from memoryhub.core.fields import COMPARTMENT, LEVELS, has_visible
from memoryhub.core.readable import readable
from memoryhub.interface.http.shapes import parse_key, parse_task_key, parse_when

MAX_QUERY_BYTES = 8 * 1024
MAX_WORDS = 50

T = TypeVar("T")

# ASCII digits only, and no sign, so that a number has one form; 18 digits stay within PostgreSQL's bigint.
_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


class NamedLabel(NamedTuple):
    """A label as a query names it."""

    sensitivity: str
    compartments: tuple[str, ...]


class Params:
    """The parameters of one query. Each getter returns None when its parameter was not sent, and raises Invalid."""

    def __init__(self, query: bytes | str, allowed: Collection[str], lists: Collection[str] = ()) -> None:
        """`query`: the raw query string; a str is WSGI's (Latin-1). `lists`: those of `allowed` that may be repeated,
        which is the same as once, separated by commas.

        Raises UriTooLong beyond 8 KiB, Invalid for an unknown or repeated parameter, one without a value, NUL, and
        invalid UTF-8.
        """
        try:
            raw = query.encode("latin-1") if isinstance(query, str) else query
        except UnicodeEncodeError:
            raise Invalid("The query is not percent-encoded.") from None
        if len(raw) > MAX_QUERY_BYTES:
            raise UriTooLong(f"The query is longer than {MAX_QUERY_BYTES} bytes.")
        self._values: dict[str, str] = {}
        for pair in raw.split(b"&"):
            if not pair:
                continue
            name, _, value = (_decode(part) for part in pair.partition(b"="))
            if name not in allowed:
                _refuse(name, Code.UNKNOWN_PARAMETER, "There is no such parameter here.")
            if name in self._values and name not in lists:
                _refuse(name, Code.REPEATED, "This parameter was sent twice.")
            if not value:
                _refuse(name, Code.EMPTY, "This parameter has no value.")
            self._values[name] = f"{self._values[name]},{value}" if name in self._values else value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, *, longest: int = 1000) -> str | None:
        """Visible text, at most `longest` characters."""
        value = self._values.get(name)
        if value is None:
            return None
        if len(value) > longest:
            _refuse(name, Code.TOO_LONG, f"This may have at most {longest} characters.")
        if not has_visible(value):
            _refuse(name, Code.EMPTY, "This must have visible text.")
        return value

    def key(self, name: str) -> str | None:
        """A key, or the beginning of one."""
        return self._parsed(name, parse_key)

    def task_key(self, name: str) -> str | None:
        """The key of a task."""
        return self._parsed(name, parse_task_key)

    def when(self, name: str) -> datetime | None:
        """An instant: RFC 3339 with its offset; in UTC."""
        # A plus that was not percent-encoded arrives as a space; here it can only be a plus.
        return self._parsed(name, lambda text: parse_when(text.replace(" ", "+")))

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        value = self._values.get(name)
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            _refuse(name, Code.BAD_FORMAT, str(error))

    def integer(self, name: str, *, low: int = 0, high: int = 2**53) -> int | None:
        """A whole number from `low` (not negative) to `high`, in decimal digits."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            _refuse(name, Code.OUT_OF_RANGE, f"This must be a whole number from {low} to {high}.")
        return int(value)

    def fraction(self, name: str) -> float | None:
        """A number from 0 to 1, in decimal digits."""
        value = self._values.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"0(?:\.[0-9]{1,17})?|1(?:\.0{1,17})?", value):
            _refuse(name, Code.OUT_OF_RANGE, "This must be a number from 0 to 1.")
        return float(value)

    def uuid(self, name: str) -> UUID | None:
        """A UUID in its canonical form."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _UUID.fullmatch(value):
            _refuse(name, Code.BAD_FORMAT, "This must be a UUID.")
        return UUID(value)

    def uuids(self, name: str) -> list[UUID] | None:
        """A comma-separated list of at most 50 UUIDs; duplicates are removed."""
        words = self.words(name)
        if words is not None and not all(map(_UUID.fullmatch, words)):
            _refuse(name, Code.BAD_FORMAT, "Each must be a UUID.")
        return None if words is None else [UUID(word) for word in words]

    def boolean(self, name: str) -> bool | None:
        """`true` or `false`."""
        value = self.choice(name, ("true", "false"))
        return None if value is None else value == "true"

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of `choices`."""
        value = self._values.get(name)
        if value is not None and value not in choices:
            _refuse(name, Code.BAD_CHOICE, f"This must be one of: {', '.join(choices)}.")
        return value

    def words(self, name: str, choices: Collection[str] | None = None) -> list[str] | None:
        """A comma-separated list of at most 50, each one of `choices` when given, as readers see them; duplicates are
        removed.
        """
        value = self._values.get(name)
        if value is None:
            return None
        words = [word.strip() for word in value.split(",")]
        if len(words) > MAX_WORDS:
            _refuse(name, Code.TOO_LONG, f"This may have at most {MAX_WORDS} words.")
        if not all(map(has_visible, words)):
            _refuse(name, Code.EMPTY, "There is an empty word in this list.")
        if choices is not None and not set(words) <= set(choices):
            _refuse(name, Code.BAD_CHOICE, f"Each must be one of: {', '.join(choices)}.")
        return list(dict.fromkeys(readable(word).text for word in words))

    def label(self) -> NamedLabel | None:
        """A label such as `confidential+finance`; the compartments sorted. A level alone is without compartments."""
        value = self._values.get("label")
        if value is None:
            return None
        # A plus that was not percent-encoded arrives as a space; no label has one.
        level, *words = value.replace(" ", "+").split("+")
        if level not in LEVELS or not all(re.search(COMPARTMENT, word) for word in words):
            _refuse("label", Code.BAD_FORMAT, "A label is a sensitivity and its compartments: confidential+finance.")
        return NamedLabel(level, tuple(sorted(set(words))))

    def without(self, *names: str) -> list[tuple[str, str]]:
        """The parameters but these, sorted: the query, independent of its order."""
        return sorted((name, value) for name, value in self._values.items() if name not in names)


def _decode(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Invalid("The query is not UTF-8.") from None
    if "\0" in text:
        raise Invalid("There is a NUL in the query.")
    return text


def _refuse(name: str, code: Code, detail: str) -> NoReturn:
    raise Invalid(errors=(FieldError(f"?{name[:100]}", code, detail),))
