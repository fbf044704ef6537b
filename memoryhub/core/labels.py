"""Labels: found or made, compared, written as text (`confidential+finance`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from memoryhub.core.errors import Forbidden
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


# Labels are never changed or removed, so what was read once stays true. Keyed by id, and by what they are.
_by_id: dict[int, LabelRef] = {}
_by_value: dict[tuple[int, int, tuple[str, ...]], LabelRef] = {}


def _remember(row: Label) -> LabelRef:
    ref = LabelRef(row.id, row.team_id, row.sensitivity, tuple(row.compartments))
    _by_id[ref.id] = _by_value[ref.team, ref.sensitivity, ref.compartments] = ref
    return ref


def label_by_id(label_id: int) -> LabelRef:
    """The label with this id. Raises Label.DoesNotExist."""
    found = _by_id.get(label_id)
    return found or _remember(Label.objects.get(id=label_id))


def ensure_label(viewer: Viewer, sensitivity: int, compartments: Iterable[str] = ()) -> LabelRef:
    """The team's label of this value, made when new. Raises Forbidden above the writer's clearance (no write up)."""
    words = tuple(sorted(set(compartments)))
    if not viewer.dominates(sensitivity, words):
        raise Forbidden("The label is above your clearance.")
    found = _by_value.get((viewer.team, sensitivity, words))
    if found is None:
        values = {"team_id": viewer.team, "sensitivity": sensitivity, "compartments": list(words)}
        row = Label.objects.filter(**values).first()
        if row is not None:
            found = _remember(row)
        else:
            # Not remembered: this transaction may yet be rolled back.
            Label.objects.bulk_create([Label(**values)], ignore_conflicts=True)
            made = Label.objects.get(**values)
            found = LabelRef(made.id, viewer.team, sensitivity, words)
    if found.id not in current().labels:
        current().enter()
    return found


def label_above(viewer: Viewer, sensitivity: int, compartments: Iterable[str]) -> int:
    """The id of the team's label of this value, which may be above the writer: of an event that names compartments.

    Whoever takes a compartment away, or makes one, need not have it. Such events are the only rows that may be written
    up (row-level security allows it for them alone).
    """
    values = {"team_id": viewer.team, "sensitivity": sensitivity, "compartments": sorted(set(compartments))}
    row = Label.objects.filter(**values).first()
    if row is None:
        Label.objects.bulk_create([Label(**values)], ignore_conflicts=True)
        row = Label.objects.get(**values)
    return row.id


def highest(labels: Iterable[LabelRef]) -> tuple[int, frozenset[str]]:
    """The least label value that dominates all of these."""
    found = list(labels)
    return max(label.sensitivity for label in found), frozenset(word for label in found for word in label.compartments)
