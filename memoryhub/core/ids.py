"""Row ids: UUIDv7 (RFC 9562), made by the application so that a row can name its event before either is written."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7: ordered by time, to the millisecond and within the process."""
    return uuid7()


def mark_of(change: UUID) -> str:
    """The end of an id, which is random: what tells a row's version from one of the same number in another history."""
    return change.hex[-8:]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (1 << 48) - 1


def first_id_at(moment: datetime, *, later: timedelta = timedelta(0)) -> UUID:
    """The least UUID that an id made `later` than an aware moment can be: a bound for ranges of ids.

    By the millisecond; before 1970 it is the least of all.
    """
    return UUID(int=min(max(0, (moment - _EPOCH + later) // timedelta(milliseconds=1)), _LAST) << 80)
