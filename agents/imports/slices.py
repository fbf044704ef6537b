"""JSON that is taken apart without being read: its members and elements stay slices of the text that was sent.

Runs of up to 64 MiB are read message by message, so that only one message at a time takes memory beside the text.
"""

from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, HubError, Invalid
from memoryhub.interface.http.shapes import fault_of

Text = bytes | memoryview | Raw
S = TypeVar("S", bound=msgspec.Struct)
Slice = Raw | UnsetType
_MIB = 1024 * 1024


def members(text: Text, shape: type[S]) -> S:
    """The members of the object in `text` as `shape`, whose fields are of type Slice.

    A shape that forbids unknown fields refuses them. Raises Invalid for what is no JSON object, and for a key that
    occurs twice.
    """
    found = _decode(text, msgspec.json.Decoder(shape))
    slices = [value for value in msgspec.structs.astuple(found) if value is not UNSET]
    # As parse_object() proves it: each colon is a member's or in a value, unless a member was replaced by its namesake.
    if shape.__struct_config__.forbid_unknown_fields and count(text, b":") > len(slices) + sum(
        count(value, b":") for value in slices
    ):
        raise Invalid(code=Code.INVALID_JSON, errors=(FieldError("", Code.REPEATED, "A key occurs twice here."),))
    return found


def elements(text: Text, most: int) -> list[Raw]:
    """The elements of the array in `text`, at most `most` + 1 of them. Raises Invalid for what is no JSON array."""
    return [value for value in msgspec.structs.astuple(_decode(text, _first(most + 1))) if value is not UNSET]


def count(text: Text, byte: bytes, start: int = 0, end: int | None = None) -> int:
    """How often a byte occurs in a part of the text, which is copied piece by piece."""
    view = memoryview(text)[start:end]
    return sum(bytes(view[place : place + _MIB]).count(byte) for place in range(0, len(view), _MIB))


def place(error: HubError, pointer: str, name: str) -> HubError:
    """A refusal of a part as one of the whole: `pointer` is the part's, and `name` replaces "The body"."""
    faults = error.errors or (FieldError("", error.code, error.detail),)
    error.errors = tuple(
        FieldError(pointer + fault.pointer, fault.code, fault.detail.replace("The body", name)) for fault in faults
    )
    error.detail = " ".join(fault.detail for fault in error.errors)
    return error


def _decode(text: Text, decoder: msgspec.json.Decoder[S]) -> S:
    work.check()
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected `object`, got"):
            raise Invalid("The body must be a JSON object.", code=Code.INVALID_JSON) from None
        raise Invalid(errors=(fault_of(error),)) from None
    except RecursionError:
        raise Invalid("The body is nested too deep.", code=Code.INVALID_JSON) from None
    except UnicodeDecodeError:
        raise Invalid("The body is not UTF-8.", code=Code.INVALID_JSON) from None
    except msgspec.DecodeError as error:
        detail = f"The body is not JSON: {error}."
        if "trailing characters" in str(error):
            detail += " Send several values as JSON lines (application/x-ndjson), or in one array."
        raise Invalid(detail, code=Code.INVALID_JSON) from None


@cache
def _first(number: int) -> msgspec.json.Decoder[Any]:
    """Decodes an array's first elements. A list of all would take 60 bytes for each `1,` of a hostile body."""
    fields = [(f"element_{index}", Slice, UNSET) for index in range(number)]
    return msgspec.json.Decoder(msgspec.defstruct("Elements", fields, array_like=True))
