"""Row ids: UUIDv7 (RFC 9562), made by the application so that a row can name its event before either is written."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7: ordered by time, to the millisecond and within the process."""
    return uuid7()
