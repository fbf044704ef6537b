"""Finding tasks: by key (which may stand for several rows, one a label), by filter."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now

from memoryhub.core.access import visible_to
from memoryhub.core.errors import Code, Conflict, NotFound
from memoryhub.core.labels import LabelRef, label_by_id
from memoryhub.core.models import seq_of_row
from memoryhub.core.viewers import Viewer
from memoryhub.memory.models import Task


def tasks(viewer: Viewer) -> QuerySet[Task]:
    """The visible tasks, with `seq`, whether the lease is live, and the names that an answer needs."""
    live = ExpressionWrapper(Q(lease_expires_at__gt=Now()), output_field=BooleanField())
    rows = Task.objects.select_related("author", "holder").annotate(seq=seq_of_row(), lease_live=live)
    return visible_to(viewer, rows)


def by_key(viewer: Viewer, key: str, label: str | None = None) -> Task:
    """The visible task of this key: the one whose label dominates those of all its visible twins.

    Raises NotFound, or Conflict (ambiguous_key) with the visible labels when no twin dominates; `label` chooses.
    """
    return _choose(tasks(viewer).filter(key=key), label)


def by_keys(viewer: Viewer, keys: Iterable[str]) -> dict[str, Task]:
    """The visible tasks of these keys in one query; a missing or ambiguous key is left out."""
    twins: dict[str, list[Task]] = {}
    for task in tasks(viewer).filter(key__in=set(keys)):
        twins.setdefault(task.key, []).append(task)
    found = {}
    for key, rows in twins.items():
        try:
            found[key] = _choose(rows, None)
        except Conflict:
            continue
    return found


def keys_of(viewer: Viewer, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Id -> key of those of the tasks that the viewer may see."""
    return dict(visible_to(viewer, Task.objects.filter(id__in=set(ids))).values_list("id", "key"))


def _choose(rows: Iterable[Task], label: str | None) -> Task:
    twins = [(label_by_id(row.label_id), row) for row in rows]
    if label is not None:
        twins = [(found, row) for found, row in twins if str(found) == label]
    if not twins:
        raise NotFound()
    for found, row in twins:
        if all(_dominates(found, other) for other, _ in twins):
            return row
    raise Conflict(
        Code.AMBIGUOUS_KEY,
        "Several rows of this key are visible, and none of their labels dominates the others; choose by ?label=.",
        labels=sorted(str(found) for found, _ in twins),
    )


def _dominates(high: LabelRef, low: LabelRef) -> bool:
    return high.sensitivity >= low.sensitivity and set(high.compartments) >= set(low.compartments)
