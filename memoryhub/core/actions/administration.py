"""The events of administration: who is in which team, with which rights, keys and rules."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from memoryhub.core.access.labels import ensure_label, label_above
from memoryhub.core.ledger import events
from memoryhub.core.models import Sensitivity
from memoryhub.core.viewers import Viewer


def record(
    viewer: Viewer, verb: str, row_id: UUID | None, /, *, named: Iterable[str] | None = None, **data: Any
) -> None:
    """Append the event of a change that administrators hear of: internal, or as high as the viewer is cleared.

    `verb`: its first word is the `row_type` (`key.issue`: key). `row_id`: None where the changed row has no UUID.
    `named`: the compartments that `data` names, where it may name some: only those who have them hear of it, and the
    viewer need not. `data`: small fields, never content. Raises Conflict (too_many_labels) when it is the first event
    of its label and the viewer has made too many, RuntimeError outside a writable transaction of the viewer.
    """
    level = min(viewer.clearance, Sensitivity.INTERNAL)
    label = ensure_label(viewer, level).id if named is None else label_above(viewer, level, named)
    events.append(viewer, verb, label=label, row_type=verb.partition(".")[0], row_id=row_id, data=data)
