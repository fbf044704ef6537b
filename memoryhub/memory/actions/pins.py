"""Pins: a pinned observation is kept, and comes first where only the most useful are shown."""

from uuid import UUID

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import run
from memoryhub.core.ledger import events
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory.selectors.memories import LIVE, only

_SET = f"""
with before as (
    select id, event_id, label_id, task_id, case when private then author_id end as audience, pinned
    from observation r where id = %(id)s::uuid and team_id = %(team)s::int and {VISIBLE} and {LIVE} for no key update
), changed as (
    update observation r set pinned = not r.pinned from before
    where r.id = before.id and before.pinned <> %(pinned)s::bool
)
select event_id, label_id, task_id, audience, pinned <> %(pinned)s::bool from before
"""


@action("observation.pin", roles=AGENTS | DESK, scope="memory:write")
def pin(viewer: Viewer, *, observation_id: UUID) -> None:
    """Pin an observation: it does not expire while it is pinned. Idempotent. Raises NotFound."""
    _set(viewer, "observation.pin", observation_id, pinned=True)


@action("observation.unpin", roles=AGENTS | DESK, scope="memory:write")
def unpin(viewer: Viewer, *, observation_id: UUID) -> None:
    """Unpin an observation; if it would have expired meanwhile, it expires now. Idempotent. Raises NotFound."""
    _set(viewer, "observation.unpin", observation_id, pinned=False)


def _set(viewer: Viewer, verb: str, observation_id: UUID, *, pinned: bool) -> None:
    found = run(_SET, {**label_params(viewer), "id": observation_id, "pinned": pinned})
    event_id, label_id, task_id, audience, changed = only(found)
    if not changed:
        current().depends_on_event = event_id
        return
    events.append(
        viewer,
        verb,
        label=label_id,
        row_type="observation",
        row_id=observation_id,
        task_id=task_id,
        audience=audience,
    )
