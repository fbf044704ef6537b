"""The first lock: which rows a viewer may see. Row-level security, the second, holds where this is forgotten."""

from typing import Any, TypeVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, F, Func, Model, QuerySet, Value
from django.db.models.expressions import RawSQL

from memoryhub.core.errors import NotFound
from memoryhub.core.models import Label, Labelled
from memoryhub.core.viewers import Viewer

Row = TypeVar("Row", bound=Model)
LabelledRow = TypeVar("LabelledRow", bound=Labelled)


class _Among(Func):
    """`label_id = ANY (ARRAY(SELECT …))`: worked out once a statement, and an index condition, as `IN` is not."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


class _Equal(Func):
    """The operator's own function, which no index serves: labels are found by their ids, however many a team has."""

    function = "int4eq"
    output_field = BooleanField()


# Looked for among those that row-level security lets pass, so that labels which the viewer may not see cost nothing.
_PASSING = "(select nullif(current_setting('hub.labels', true), '')::int[])"


def visible_labels(viewer: Viewer) -> QuerySet[Label]:
    """The team's labels that the viewer's clearance dominates, inside the viewer's transaction."""
    passing = RawSQL(f"{_PASSING}::int[]", ())  # noqa: S611  (a text of ours)
    labels = Label.objects.filter(_Among(F("id"), passing), _Equal(F("team_id"), Value(viewer.team)))
    if viewer.is_system:
        return labels
    return labels.filter(sensitivity__lte=viewer.clearance, compartments__contained_by=sorted(viewer.compartments))


def visible_to(viewer: Viewer, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those of the rows that the viewer may see. Every door's read passes here, once, at its base."""
    return rows.filter(_Among(F("label_id"), ArraySubquery(visible_labels(viewer).values("id"))), team_id=viewer.team)


# The same lock for the raw statements of the hot paths; its parameters are label_params().
VISIBLE = f"""label_id = any (array(select l.id from label l where l.id = any ({_PASSING}::int[])
    and int4eq(l.team_id, %(team)s::int)
    and (%(all)s::bool or (l.sensitivity <= %(clearance)s and l.compartments <@ %(compartments)s::varchar[]))))"""


def label_params(viewer: Viewer) -> dict[str, Any]:
    """What VISIBLE asks of the viewer."""
    return {
        "team": viewer.team,
        "all": viewer.is_system,
        "clearance": viewer.clearance,
        "compartments": viewer.compartment_array,
    }


def find(viewer: Viewer, rows: QuerySet[LabelledRow], row_id: UUID) -> LabelledRow:
    """The visible row with this id. Raises NotFound, for hidden and absent alike."""
    found = visible_to(viewer, rows).filter(id=row_id).first()
    if found is None:
        raise NotFound()
    return found
