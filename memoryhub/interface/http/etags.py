"""Entity tags and preconditions (RFC 9110, 8.8.3 and 13.1). A tag, `"<row id>.<version>.<mark>"`, never matches a twin,
nor a version of the same number in another life of the ledger (ADR 10).
"""

import re
from typing import NamedTuple
from uuid import UUID

from memoryhub.core.errors import Invalid, PreconditionRequired
from memoryhub.core.ids import mark_of

# Only as make_tag() writes it: a tag is opaque to clients. One without the mark is of an older version of memoryhub,
# and matches nothing: its client reads again.
_TAG = re.compile(r'"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\.([1-9][0-9]{0,8})(?:\.([0-9a-f]{8}))?"')


class Tag(NamedTuple):
    """The version of a row that a client has seen. `mark`: of its change (mark_of); empty in a tag of an older form."""

    id: UUID
    version: int
    mark: str


def make_tag(row_id: UUID | str, version: int, change: UUID) -> str:
    """The ETag header of a row's version. `change`: an id that is unique to this version, such as its event's."""
    return f'"{row_id}.{version}.{mark_of(change)}"'


def if_match(header: str | None) -> Tag:
    """The one version that If-Match names.

    Raises PreconditionRequired (428) when the header is missing, Invalid when it is anything but one strong tag of
    ours; `*` too, since it would overwrite what the client has never seen.
    """
    if header is None:
        raise PreconditionRequired("Send If-Match with the ETag that you have read.")
    found = _TAG.fullmatch(header.strip(" \t"))
    if not found:
        raise Invalid("If-Match must be one ETag as it was returned, with its quotes.")
    return Tag(UUID(found[1]), int(found[2]), found[3] or "")


def must_be_new(header: str | None) -> bool:
    """Whether `If-None-Match: *` was sent: only create. Raises Invalid for any other value."""
    if header is None:
        return False
    if header.strip(" \t") != "*":
        raise Invalid("If-None-Match can only be * here.")
    return True


def fits_none(header: str | None, tag: str) -> bool:
    """Whether a read's If-None-Match names this tag, weak or strong, or any (`*`): the client has this version."""
    if header is None:
        return False
    return header.strip(" \t") == "*" or tag in [sent.strip(" \t").removeprefix("W/") for sent in header.split(",")]
