"""No more rows than one answer holds (ANSWER_BYTES): they are measured where they are stored, before they are read."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# Of a labelled row `r` as it is answered: its text, and about what else it has.
BYTES = "coalesce(octet_length(r.body::text), octet_length(r.sealed), 0) + 400"


class Fitted(list[T]):
    """Rows in their order, of which `at_most` so many fit (at least one); None: all of them do."""

    at_most: int | None = None


def ended(text: str) -> str:
    """A statement that ends with the first row that no longer fits into `most_bytes`, a further parameter.

    `text`: an ordered statement whose last column is `bytes`. It is read in its order, and gives one column more.
    """
    return (
        f"select * from (select q.*, sum(q.bytes) over (rows unbounded preceding) as total from ({text}) q) w"
        " where w.total - w.bytes <= %(most_bytes)s::bigint"
    )


def fit(rows: Iterable[Sequence[Any]], most_bytes: int, make: Callable[..., T]) -> Fitted[T]:
    """What an ended() statement has found: `make` takes the columns of one row."""
    made: Fitted[T] = Fitted()
    fitting = 0
    for *columns, _, total in rows:
        made.append(make(*columns))
        fitting += total <= most_bytes
    if fitting < len(made):
        made.at_most = max(fitting, 1)
    return made
