"""Rows as the API answers them: the same shape for HTTP, packages and frames."""

from typing import Any

from memoryhub.core.access.labels import label_by_id
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.memory import answers
from memoryhub.memory.selectors.alerts import AlertRow
from memoryhub.memory.selectors.facts import FactRow
from memoryhub.memory.selectors.learnings import Relevant
from memoryhub.memory.selectors.memories import DecisionRow, LearningRow, ObservationRow
from memoryhub.memory.selectors.tasks import TaskRow


def common(row: Any, text: dict[str, Any]) -> answers.Row:
    """What every row is answered with. The row brings `seq` and its author; `text`: as read_text() gave it."""
    label = label_by_id(row.label_id)
    made: answers.Row = {
        "id": row.id,
        "seq": row.seq,
        "sensitivity": label.level,
        "compartments": list(label.compartments),
        "author": row.author_name,
        "created_at": row.created_at,
    }
    if "unavailable" in text:
        made["unavailable"] = True
    return made


def task(row: TaskRow) -> answers.Task:
    """A task with its lease, if one is live."""
    text = read_text(row, "task")
    holder = row.holder_name if row.held else None
    lease: answers.Lease | None = None
    if holder is not None and row.lease_expires_at is not None:
        lease = {"token": row.token, "held_by": holder, "expires_at": row.lease_expires_at}
    return {
        **common(row, text),
        "key": row.key,
        "title": text.get("title", ""),
        "requester": text.get("requester", ""),
        "metadata": text.get("metadata", {}),
        "outcome": text.get("outcome"),
        "status": row.status,
        "version": row.version,
        "in_progress": lease is not None,
        "assigned_to": holder,
        "human_owned": row.human_owned,
        "lease": lease,
        "reopen_count": row.reopen_count,
        "client_ref": row.client_ref,
    }


def observation(row: ObservationRow) -> answers.Observation:
    """An observation; `task` is None when it has none, or one that the reader may not see."""
    text = read_text(row, "observation")
    return {
        **common(row, text),
        "task": row.task_key,
        "content": text.get("content"),
        "tags": row.tags,
        "importance": row.importance,
        "private": row.private,
        "pinned": row.pinned,
        "occurred_at": row.occurred_at,
        "expires_at": row.expires_at,
        "client_ref": row.client_ref,
    }


def decision(row: DecisionRow) -> answers.Decision:
    """A decision."""
    text = read_text(row, "decision")
    return {
        **common(row, text),
        "task": row.task_key,
        "decision": text.get("decision"),
        "reasoning": text.get("reasoning", ""),
        "based_on": row.based_on,
        "action_key": row.action_key,
        "status": row.status,
        "supersedes": row.supersedes,
        "superseded_by": row.superseded_by,
        "revoke_reason": text.get("revoke_reason"),
        "outcome": row.outcome,
        "outcome_note": text.get("outcome_note") or None,
        "client_ref": row.client_ref,
    }


def learning(row: LearningRow) -> answers.Learning:
    """A learning."""
    text = read_text(row, "learning")
    return {
        **common(row, text),
        "task": row.task_key,
        "signal_type": row.signal_type,
        "details": text.get("details"),
        "context": text.get("context", {}),
        "source": row.source,
        "client_ref": row.client_ref,
    }


def fact(row: FactRow) -> answers.Fact:
    """A version of a fact, newest or old."""
    text = read_text(row.text, row.text.table)
    return {
        **common(row, text),
        "key": row.key,
        "value": text.get("value"),
        "version": row.version,
        "task": row.task_key,
        "expires_at": row.expires_at,
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "client_ref": row.client_ref,
    }


def relevant(found: Relevant) -> answers.RelevantLearning:
    """A learning with why it is relevant."""
    return {
        **learning(found.row),
        "relevance": found.relevance,
        "matched": [
            {"match": one.how, "word": one.what} if one.how == "text" else {"match": one.how, "key": one.what}
            for one in found.matched
        ],
    }


def alert(row: AlertRow) -> answers.Alert:
    """An alert, to a recipient or its sender."""
    text = read_text(row, "alert")
    made: answers.Alert = {
        **common(row, text),  # type: ignore[typeddict-item]  # mypy misses what is not required beside a **
        "task": row.task_key,
        "insight": text.get("insight", ""),
        "severity": row.severity,
        "expires_at": row.expires_at,
        "acknowledged_at": row.acknowledged_at,
        "client_ref": row.client_ref if row.is_sent else None,
    }
    if row.is_sent:
        made["recipient_count"], made["acknowledged_count"] = row.recipients, row.acknowledged or 0
    return made


def pushed_alert(row: AlertRow) -> answers.PushedAlert:
    """An alert for a stream, whose bytes are shared: without its task, and without sealed text."""
    text: dict[str, str | None] = {"insight": None} if row.sealed is not None else read_text(row, "alert")
    return {
        **common(row, text),
        "insight": text["insight"],
        "severity": row.severity,
        "expires_at": row.expires_at,
    }


def fact_version(row: FactRow) -> answers.FactVersion:
    """A version of a fact, as its history has it."""
    return {**fact(row), "deleted": row.deleted}
