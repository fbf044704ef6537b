"""Labels: found or made, compared, written as text (`confidential+finance`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings

from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, Conflict, Forbidden
from memoryhub.core.ledger import lives
from memoryhub.core.models import Label, Sensitivity
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer


@dataclass(frozen=True)
class LabelRef:
    """A label as code passes it on."""

    id: int
    team: int
    sensitivity: int
    compartments: tuple[str, ...]

    @cached_property
    def level(self) -> str:
        """The sensitivity's word; kept, since an enumeration is slow to tell it and every row is answered with it."""
        return str(Sensitivity(self.sensitivity).label)

    def __str__(self) -> str:
        return "+".join([self.level, *self.compartments])

    def dominates(self, other: "LabelRef") -> bool:
        """Whether whoever may read rows of this label may read those of the other."""
        return self.sensitivity >= other.sensitivity and set(self.compartments).issuperset(other.compartments)

    @property
    def is_sealed(self) -> bool:
        return self.sensitivity == Sensitivity.CONFIDENTIAL


# Labels are never changed or removed, so what was read once stays true in this life of the ledger. Keyed by id, and by
# what they are.
_by_id: dict[int, LabelRef] = {}
_by_value: dict[tuple[int, int, tuple[str, ...]], LabelRef] = {}
lives.forgets(_by_id.clear)
lives.forgets(_by_value.clear)


def _remember(row: Label) -> LabelRef:
    ref = LabelRef(row.id, row.team_id, row.sensitivity, tuple(row.compartments))
    _by_id[ref.id] = _by_value[ref.team, ref.sensitivity, ref.compartments] = ref
    return ref


def label_by_id(label_id: int) -> LabelRef:
    """The label with this id. Raises Label.DoesNotExist."""
    found = _by_id.get(label_id)
    return found or _remember(Label.objects.get(id=label_id))


def ensure_label(viewer: Viewer, sensitivity: int, compartments: Iterable[str] = ()) -> LabelRef:
    """The team's label of this value, made when new.

    Raises Forbidden above the writer's clearance (no write up), Conflict (too_many_labels) past LABELS_PER_MEMBER.
    """
    words = tuple(sorted(set(compartments)))
    if not viewer.dominates(sensitivity, words):
        raise Forbidden("The label is above your clearance.")
    visible = current().labels  # first: with them comes whether what was remembered still holds
    found = _by_value.get((viewer.team, sensitivity, words))
    if found is None:
        values = {"team_id": viewer.team, "sensitivity": sensitivity, "compartments": list(words)}
        row = Label.objects.filter(**values).first()
        found = _remember(row) if row is not None else _make(viewer, values)
    if found.id not in visible:
        current().set_viewer_context()
    return found


def label_above(viewer: Viewer, sensitivity: int, compartments: Iterable[str]) -> int:
    """The id of the team's label of this value, which may be above the writer: of an event that names compartments.

    Whoever takes a compartment away, or makes one, need not have it. Such events are the only rows that may be written
    up (row-level security allows it for them alone).
    """
    values = {"team_id": viewer.team, "sensitivity": sensitivity, "compartments": sorted(set(compartments))}
    return (Label.objects.filter(**values).first() or _create(values, maker=None)).id


def _make(viewer: Viewer, values: dict[str, Any]) -> LabelRef:
    """A new label, in the name of its maker. Raises Conflict (too_many_labels) past the maker's number."""
    maker = None if viewer.is_system else viewer.membership
    if maker is not None:
        # One at a time, so that none of a maker's requests at once is overlooked by the others.
        run("select pg_advisory_xact_lock(7078, hashtext(%s::uuid::text))", [maker])
        # By this member only: the number tells nothing of labels that they may not see.
        made = Label.objects.filter(maker_id=maker).count()
        if made >= settings.LABELS_PER_MEMBER:
            raise Conflict(
                Code.TOO_MANY_LABELS,
                f"You have made {made} labels (a sensitivity with its compartments), and a member may make"
                f" {settings.LABELS_PER_MEMBER}. Use one that exists: yours and those of others stay usable.",
            )
    row = _create(values, maker)
    # Not remembered: this transaction may yet be rolled back.
    return LabelRef(row.id, row.team_id, row.sensitivity, tuple(row.compartments))


def _create(values: dict[str, Any], maker: UUID | None) -> Label:
    """A new label, or the one of a concurrent transaction that was first."""
    Label.objects.bulk_create([Label(**values, maker_id=maker)], ignore_conflicts=True)
    current().has_made_labels = True
    return Label.objects.get(**values)


def highest(labels: Iterable[LabelRef]) -> tuple[int, frozenset[str]]:
    """The least label value that dominates all of these."""
    found = list(labels)
    return max(label.sensitivity for label in found), frozenset(word for label in found for word in label.compartments)
