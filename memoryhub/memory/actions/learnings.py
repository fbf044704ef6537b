"""Learnings: log one, and make one of a decision's outcome."""

from typing import Any
from uuid import UUID

from memoryhub.core.access.labels import LabelRef, label_by_id
from memoryhub.core.access.permissions import AGENTS, DESK, action
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Unavailable
from memoryhub.core.ledger import events
from memoryhub.core.secrecy.blind_index import blind
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.viewers import Viewer
from memoryhub.memory import models, similarity
from memoryhub.memory.actions.rows import label_for, rest_on, set_text, store, task_of, text_of
from memoryhub.memory.schemas.learnings import Learning, NewLearning

_EXISTING = """
select id, event_id from learning where source = %(source)s::uuid
union all
select id, event_id from learning
where author_id = %(author)s::uuid and label_id = %(label)s::int and client_ref = %(client_ref)s::varchar
order by id limit 1
"""
_ADD_KEYS = """
insert into learning_key (label_id, token, learning_id)
select %(label)s::int, unnest(%(tokens)s::bigint[]), %(id)s::uuid on conflict do nothing
"""
_DROP_KEYS = """
delete from learning_key
where label_id = %(label)s::int and token = any (%(tokens)s::bigint[]) and learning_id = %(id)s::uuid
"""


@action("learning.log", roles=AGENTS | DESK, scope="memory:write")
def log(viewer: Viewer, *, item: NewLearning) -> tuple[UUID, bool]:
    """Log a learning; its id, and whether it is new (a repeated `client_ref` returns the first).

    The label defaults to the task's, else to internal. Concurrent duplicates (one `client_ref`) are logged once. Raises
    NoSuchTask, Forbidden above one's clearance.
    """
    task = task_of(viewer, item)
    return add(viewer, label_for(viewer, item, task), item, task_id=task.id if task else None)


def add(
    viewer: Viewer, label: LabelRef, item: NewLearning, *, task_id: UUID | None = None, source: UUID | None = None
) -> tuple[UUID, bool]:
    """Store a learning, its keys and its event, once per `source` and `client_ref`; its id, and whether it is new."""
    data = {"signal_type": item.signal_type, **({"source": str(source)} if source else {})}
    row_id = store(viewer, "learning.log", Learning, label, item, task_id=task_id, data=data, source=source)
    if row_id is None:
        params = {"source": source, "author": viewer.membership, "label": label.id, "client_ref": item.client_ref}
        found = rest_on(run(_EXISTING, params))
        assert found is not None, "nothing removes it meanwhile"
        return found, False
    _put_keys(_ADD_KEYS, row_id, label, text_of(Learning, item))
    return row_id, True


def _put_keys(statement: str, row_id: UUID, label: LabelRef, text: dict[str, Any]) -> None:
    found = similarity.features(text.get("context") or {}, text.get("details"))
    tokens = blind(label.team, found) if label.is_sealed else similarity.plain(found)
    if tokens is None:
        raise Unavailable("Confidential content cannot be indexed now.", retry_after=60)
    queue(statement, {"label": label.id, "id": row_id, "tokens": tokens})


def add_outcome(viewer: Viewer, decision: models.Decision, metadata: dict[str, Any]) -> None:
    """Make a learning of a decision's outcome, or update the one that exists.

    It has the decision's label. `metadata`: of its task, as far as that label permits.
    """
    text = read_text(decision)
    decided = text.get("decision")
    context = {**metadata, **(decided if isinstance(decided, dict) else {})}
    details: dict[str, Any] = {name: text[name] for name in ("decision", "reasoning") if name in text}
    details |= {"outcome": decision.outcome, "note": text.get("outcome_note", "")}
    signal = models.Signal.SUCCESS if decision.outcome == models.Outcome.WORKED else models.Signal.FAILURE
    label = label_by_id(decision.label_id)
    learnt = NewLearning(signal_type=signal, details=details, context=context)
    row_id, created = add(viewer, label, learnt, task_id=decision.task_id, source=decision.id)
    if not created:
        _change(viewer, row_id, signal, {"details": details, "context": context})


def _change(viewer: Viewer, row_id: UUID, signal: str, text: dict[str, Any]) -> None:
    row = models.Learning.objects.select_for_update(no_key=True).get(id=row_id)
    label = label_by_id(row.label_id)
    before = read_text(row)
    if "unavailable" not in before:  # else its keys are unknown and stay; what they find, compare() rejects
        _put_keys(_DROP_KEYS, row_id, label, before)
    set_text(row, text)
    row.signal_type, row.author_id = signal, viewer.membership
    row.save(update_fields=["text_version", "body", "sealed", "signal_type", "author"])
    _put_keys(_ADD_KEYS, row_id, label, text)
    events.append(
        viewer,
        "learning.change",
        label=label.id,
        row_type="learning",
        row_id=row_id,
        task_id=row.task_id,
        data={"signal_type": signal, "source": str(row.source)},
    )
