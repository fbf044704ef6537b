"""The types of request fields: texts, keys, times and JSON with their bounds; and the base of every body.

Validated by interface.http.shapes; described for the API by agents.openapi.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from memoryhub.core.access.label_text import COMPARTMENT as WORD
from memoryhub.core.errors import Code

MAX_CONTENT_BYTES = 256 * 1024

# White space, controls and invisible characters: zero-width and bidi marks, fillers, variation selectors, tags.
_UNSEEN = (
    r"\s\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb" + "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
# `$` alone also matches before a trailing line feed.
_END = r"$(?!\n)"
VISIBLE_CHARACTER = f"[^{_UNSEEN}]"
_LINE = f"^(?=[^{_CONTROLS}]*{_END})[^{_CONTROLS}]*{VISIBLE_CHARACTER}"
KEY_PATTERN = rf"^[A-Za-z0-9._:@~-]{{1,200}}{_END}"
# Path segments in a key's place, which therefore cannot be keys: verbs, and dot segments (RFC 3986, 3.3).
RESERVED = {"task": ("claim-next", ".", ".."), "fact": ("read", ".", "..")}


def in_address(noun: str) -> str:
    """The regular expression of a `task`'s or `fact`'s key as a path segment."""
    return rf"(?!(?:{_words(noun)})(?:/|$))[A-Za-z0-9._:@~-]{{1,200}}"


def _words(noun: str) -> str:
    return "|".join(map(re.escape, RESERVED[noun]))


def _unreserved(noun: str) -> str:
    return f"^(?!(?:{_words(noun)}){_END}){KEY_PATTERN[1:]}"


TASK_KEY_PATTERN, FACT_KEY_PATTERN = _unreserved("task"), _unreserved("fact")
_TAG = f"^(?=[^,{_CONTROLS}]*{_END}){VISIBLE_CHARACTER}(?:.*{VISIBLE_CHARACTER})?{_END}"
COMPARTMENT = rf"^{WORD}{_END}"

# The refusal when a pattern does not match; by the pattern as msgspec prints it.
EMPTY = (Code.EMPTY, "This must have visible text.")
A_KEY = (Code.BAD_FORMAT, "A key is 1 to 200 of the characters A-Z a-z 0-9 . _ : @ ~ -")
NOT_A_KEY = {
    noun: (Code.BAD_FORMAT, f"{A_KEY[1]}, and none of these: {' '.join(words)}") for noun, words in RESERVED.items()
}
PATTERNS: dict[str, tuple[Code, str]] = {
    repr(VISIBLE_CHARACTER): EMPTY,
    repr(_LINE): (Code.BAD_FORMAT, "This must be one line of visible text."),
    repr(KEY_PATTERN): A_KEY,
    repr(TASK_KEY_PATTERN): NOT_A_KEY["task"],
    repr(FACT_KEY_PATTERN): NOT_A_KEY["fact"],
    repr(_TAG): (Code.BAD_FORMAT, "A tag is one line without commas; its first and last character are visible."),
    repr(COMPARTMENT): (Code.BAD_FORMAT, "A compartment is 1 to 40 of the characters a-z 0-9 _ -"),
}

# Text: visible text, in any number of lines; Line: a title or a name.
Text = Annotated[str, Meta(min_length=1, max_length=20_000, pattern=VISIBLE_CHARACTER)]
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=_LINE)]
Key = Annotated[str, Meta(min_length=1, max_length=200, pattern=KEY_PATTERN)]
TaskKey = Annotated[str, Meta(min_length=1, max_length=200, pattern=TASK_KEY_PATTERN)]
FactKey = Annotated[str, Meta(min_length=1, max_length=200, pattern=FACT_KEY_PATTERN)]
Tag = Annotated[str, Meta(min_length=1, max_length=100, pattern=_TAG)]
Tags = Annotated[list[Tag], Meta(max_length=50)]
Compartment = Annotated[str, Meta(min_length=1, max_length=40, pattern=COMPARTMENT)]
Compartments = Annotated[list[Compartment], Meta(max_length=20)]
Sensitivity = Literal["public", "internal", "confidential"]
LEVELS: tuple[str, ...] = get_args(Sensitivity)
Priority = Literal["low", "normal", "high", "urgent"]
# Of a lease: a fencing token.
Token = Annotated[int, Meta(ge=1, le=2**53)]
# An instant: RFC 3339 with an offset, converted to UTC.
When = Annotated[datetime, Meta(tz=True)]
Uuid = UUID
# At most 256 KiB each, as JSON; a string in Content must have visible text.
JsonObject = Annotated[dict[str, Any], Meta(extra={"max_bytes": MAX_CONTENT_BYTES})]
Content = Annotated[
    dict[str, Any] | str, Meta(extra={"max_bytes": MAX_CONTENT_BYTES}, extra_json_schema={"pattern": VISIBLE_CHARACTER})
]
# Any JSON value, also null and blank text.
JsonValue = Annotated[Any, Meta(extra={"max_bytes": MAX_CONTENT_BYTES, "may_be_blank": True})]


class Schema(msgspec.Struct):
    """The base of what is returned: built from rows, whose times are in UTC, so it needs no conversion to JSON."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A schema that is known only once all kinds of rows are registered: `Annotated[Any, Derived(of)]`."""

    of: Callable[[], Any]


class Shape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The base of request bodies. `read_only`: members of responses that a body may not have.

    Subclasses repeat `kw_only=True`, which msgspec does not inherit.
    """

    read_only: ClassVar[frozenset[str]] = frozenset(
        (
            "id",
            "seq",
            "version",
            "author",
            "created_at",
            "updated_at",
            "team",
            "owner",
            "status",
            "state",
            "held_by",
            "lease",
            "label",
            "trust",
        )
    )


class EmptyBody(Shape, kw_only=True):
    """An empty object."""


class NewRow(Shape, kw_only=True):
    """The fields of every body that creates a row. An absent label is the task's; null is not a label."""

    sensitivity: Sensitivity | UnsetType = UNSET
    compartments: Compartments | UnsetType = UNSET
    client_ref: Key | None = None

    @property
    def names_label(self) -> bool:
        return self.sensitivity is not UNSET or self.compartments is not UNSET


def has_visible(text: str) -> bool:
    """Whether it has a visible character: not only spaces, controls and zero-width characters."""
    return re.search(VISIBLE_CHARACTER, text) is not None
