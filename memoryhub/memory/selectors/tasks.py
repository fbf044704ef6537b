"""Finding tasks: by key (which may stand for several rows, one a label), by filter."""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now

from memoryhub.core.access import VISIBLE, label_params, visible_to
from memoryhub.core.errors import Code, Conflict, NotFound
from memoryhub.core.labels import label_by_id
from memoryhub.core.models import seq_of_row
from memoryhub.core.sql import run
from memoryhub.core.viewers import Viewer
from memoryhub.memory.models import Task


class TaskRef(Protocol):
    """What a write needs to know of its task: a model's instance has it, too."""

    @property
    def id(self) -> UUID: ...
    @property
    def label_id(self) -> int: ...


Found = TypeVar("Found", bound=TaskRef)


def tasks(viewer: Viewer) -> QuerySet[Task]:
    """The visible tasks, with `seq`, whether the lease is live, and the names that an answer needs."""
    live = ExpressionWrapper(Q(lease_expires_at__gt=Now()), output_field=BooleanField())
    rows = Task.objects.select_related("author", "holder").annotate(
        seq=seq_of_row(), lease_live=live, author_name=F("author__name")
    )
    return visible_to(viewer, rows)


def by_key(viewer: Viewer, key: str, label: str | None = None) -> Task:
    """The visible task of this key: the one whose label dominates those of all its visible twins.

    Raises NotFound, or Conflict (ambiguous_key) with the visible labels when no twin dominates; `label` chooses.
    """
    return choose(tasks(viewer).filter(key=key), label)


class Ref(NamedTuple):
    """A task's id, key and label, without its text."""

    id: UUID
    key: str
    label_id: int


_REFS = f"select id, key, label_id from task where team_id = %(team)s and key = any (%(keys)s::varchar[]) and {VISIBLE}"


def refs(viewer: Viewer, keys: Iterable[str]) -> dict[str, Ref]:
    """The tasks of these keys, in one query and without their text; a missing or ambiguous key is left out."""
    twins: dict[str, list[Ref]] = {}
    for row in run(_REFS, {**label_params(viewer), "keys": list(keys)}):
        twins.setdefault(row[1], []).append(Ref(*row))
    found = {}
    for key, rows in twins.items():
        with suppress(Conflict):
            found[key] = choose(rows, None)
    return found


def ref(viewer: Viewer, key: str, label: str | None = None) -> Ref:
    """As by_key(), for writes. Raises NotFound, Conflict (ambiguous_key)."""
    rows = run(_REFS, {**label_params(viewer), "keys": [key]})
    return choose([Ref(*row) for row in rows], label)


_BY_ID = f"select id, key, label_id from task where id = any (%(ids)s::uuid[]) and team_id = %(team)s and {VISIBLE}"


def refs_of(viewer: Viewer, ids: Iterable[UUID]) -> dict[UUID, Ref]:
    """Id -> task, of those that the viewer may see."""
    return {row[0]: Ref(*row) for row in run(_BY_ID, {**label_params(viewer), "ids": list(ids)})}


def keys_of(viewer: Viewer, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Id -> key of those of the tasks that the viewer may see."""
    return dict(visible_to(viewer, Task.objects.filter(id__in=set(ids))).values_list("id", "key"))


def choose(rows: Iterable[Found], label: str | None) -> Found:
    """Of visible rows of one key, the one whose label dominates all others' (`label` chooses). Raises as by_key()."""
    twins = [(label_by_id(row.label_id), row) for row in rows]
    if label is not None:
        twins = [(found, row) for found, row in twins if str(found) == label]
    if not twins:
        raise NotFound()
    for found, row in twins:
        if all(found.dominates(other) for other, _ in twins):
            return row
    raise Conflict(
        Code.AMBIGUOUS_KEY,
        "Several rows of this key are visible, and none of their labels dominates the others; choose by ?label=.",
        labels=sorted(str(found) for found, _ in twins),
    )
