"""The queue without crowds: after ten rows of one agent the rest is one line, which unfolds on request."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Case, F, Q, QuerySet, When, Window
from django.db.models.functions import RowNumber

from escalations.desk import queue
from escalations.models import Escalation
from escalations.states import QUEUED
from memoryhub.core.viewers import Viewer

FOLD_AT = 10  # rows of one agent, besides those that the viewer has claimed


@dataclass(frozen=True, slots=True)
class Fold:
    """The rows of an agent that are not shown. `free`: how many of them nobody has claimed."""

    author: UUID
    agent: str
    more: int
    free: int


@dataclass(frozen=True, slots=True)
class Shown:
    """`entries`: rows and folds, in the order of the page; `cut`: whether rows follow."""

    entries: list[Escalation | Fold]
    cut: bool

    @property
    def rows(self) -> list[Escalation]:
        return [entry for entry in self.entries if isinstance(entry, Escalation)]

    @property
    def has_free(self) -> bool:
        """Whether there is one to claim, visible or folded."""
        return any(entry.free if isinstance(entry, Fold) else entry.state == QUEUED for entry in self.entries)


def fold_crowds(viewer: Viewer, filters: queue.Filters, *, limit: int = queue.ROWS, unfold: str | None = None) -> Shown:
    """Up to `limit` rows that match the filters, in the queue's order, each crowd folded after its first ten.

    `unfold`: the agent whose rows are all shown; so are those of an agent that the queue is filtered by.
    """
    ranked = _ranked(viewer, queue.matching(viewer, filters), unfold or filters.agent)
    found = list(ranked.filter(place__lte=FOLD_AT).order_by(*queue.ORDER).values_list("id", flat=True)[: limit + 1])
    known = queue.rows_by_id(viewer, found[:limit])
    rows = [known[row_id] for row_id in found[:limit] if row_id in known]
    return Shown(_with_folds(viewer, rows, ranked), len(found) > limit)


def _ranked(viewer: Viewer, rows: QuerySet[Escalation], whole: str | None) -> QuerySet[Any]:
    """The rows with `place`: each one's among its agent's, in the queue's order; 1 for those that are never folded."""
    apart = Q(owner_id=viewer.membership, over=False)
    if whole:
        apart |= Q(author__name=whole)
    crowd = Case(When(apart, then=F("id")), default=F("author_id"))
    return rows.annotate(place=Window(RowNumber(), partition_by=[crowd], order_by=queue.ORDER))


def _with_folds(viewer: Viewer, rows: list[Escalation], ranked: QuerySet[Any]) -> list[Escalation | Fold]:
    """The rows, with a fold after the last one that is shown of each crowd."""
    counts: dict[UUID, int] = {}
    made: list[Escalation | Fold] = []
    hidden = _hidden(ranked) if rows else {}
    for row in rows:
        made.append(row)
        if row.owner_id == viewer.membership:
            continue
        counts[row.author_id] = counts.get(row.author_id, 0) + 1
        if counts[row.author_id] == FOLD_AT and row.author_id in hidden:
            made.append(Fold(row.author_id, row.author.name, *hidden[row.author_id]))
    return made


def _hidden(ranked: QuerySet[Any]) -> dict[UUID, tuple[int, int]]:
    """Author -> how many of theirs are folded, and how many of these are free."""
    inner, params = ranked.values("author_id", "state", "over", "place").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            "select author_id, count(*), count(*) filter (where state = %s or over)"
            f" from ({inner}) r where place > %s group by author_id",
            [QUEUED, *params, FOLD_AT],
        )
        return {author: (more, free) for author, more, free in cursor.fetchall()}
