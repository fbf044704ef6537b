"""Stores recorded runs through the same actions that agents use, as an agent's viewer.

Every row has a client_ref, so an interrupted or repeated import adds only what is missing.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from agents.imports.envelopes import RunSource
from agents.imports.rows import size_of
from agents.imports.runs import Run, read_run
from agents.imports.slices import place
from agents.imports.steps import DecisionStep, EscalationStep, ObservationStep, Rules, Step, plan
from escalations.actions.escalate import escalate
from escalations.models import Escalation
from memoryhub.core import work
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.errors import Code, Conflict, HubError
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions import decisions, leases, observations, tasks
from memoryhub.memory.actions.leases import TakenLease
from memoryhub.memory.actions.observations import Logged
from memoryhub.memory.models import OVER, Decision, Observation, Task
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.schemas.tasks import NewTask

BATCH, BATCH_BYTES = 500, 1024 * 1024
LEASE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Options:
    """`speed`: messages per second (0.1 to 1000), so that people can watch; None: as fast as possible."""

    rules: Rules = field(default_factory=Rules)
    prefix: str = ""
    speed: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A run that was not stored, or not completely, and why. `line`: where the file has a run per line."""

    line: int | None
    what: str


# How many runs were read (`runs`), how many of them were stored completely before (`complete`), and how many `tasks`,
# `observations`, `decisions` and `escalations` were made; how many inline files rows only describe (`described`).
Counts = Counter[str]


@dataclass(slots=True)
class _Outline:
    """The client_refs of a run's steps, and those of its escalations."""

    refs: list[str] = field(default_factory=list)
    asks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Report:
    """The progress of an import."""

    counts: Counts = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)


def import_runs(
    viewer: Viewer,
    sources: Iterable[RunSource],
    options: Options,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Store the runs as what the agent `viewer` did; `progress` is called after each.

    One that is invalid, or that an action refuses, becomes a fault of the report and stops no other. Without `speed` a
    run is stored whole or not at all, in one transaction.
    """
    report = Report()
    first: dict[str, str] = {}
    for source in sources:
        made = Counts(runs=1)
        try:
            run = read_run(source, options.prefix)
            if run.key in first:
                raise Conflict(Code.ALREADY_EXISTS, f"The run {run.key} is already in {first[run.key]}.")
            first[run.key] = f"line {source.line}" if source.line else source.pointer
            # Tools are counted per run: a file may have any number.
            import_run(viewer, run, replace(options, rules=replace(options.rules)), made)
        except HubError as error:
            report.faults.append(Fault(source.line, _explain(error, source)))
            made = made if options.speed else Counts()  # its transaction was rolled back
        report.counts += made
        progress(report)
    return report


def import_run(viewer: Viewer, run: Run, options: Options, made: Counts) -> None:
    """Store what is missing of a run, and count it in `made`; without `speed` all of it or nothing. Raises HubError."""
    outline = _Outline()
    for step in plan(run, options.rules):
        outline.refs.append(step.ref)
        if isinstance(step, EscalationStep):
            outline.asks.add(step.ref)
        else:
            made["described"] += step.lost.files
    with nullcontext() if options.speed else viewer_transaction(viewer):
        _store(viewer, run, outline, options, made)


def _explain(error: HubError, source: RunSource) -> str:
    """A refusal in one line, with the place of each fault."""
    placed = place(error, "" if source.line else source.pointer, source.name)
    return " ".join(f"{fault.pointer}: {fault.detail}".removeprefix(": ") for fault in placed.errors)


def _store(viewer: Viewer, run: Run, outline: _Outline, options: Options, made: Counts) -> None:
    """Store what is missing of a run, and count it in `made`. Raises HubError."""
    task, created = tasks.create(viewer, item=NewTask(key=run.key, title=run.title, metadata={"imported": run.source}))
    made["tasks"] += created
    known = set() if created else _known(viewer, run, task, outline.refs)
    if known.issuperset(outline.refs) and (outline.asks or task.status in OVER):
        made["complete"] += 1
        return
    # A task that was handed to a person, or has ended, needs no lease of ours.
    held = None if task.status in OVER or outline.asks & known else _lease(viewer, task)
    renewed = time.monotonic()
    missing = (step for step in plan(run, options.rules) if step.ref not in known)
    for batch in _batches(missing, options.speed):
        work.check()  # the run is rolled back then
        if held and time.monotonic() - renewed > LEASE_SECONDS / 2:
            held, renewed = leases.renew(viewer, task=held, token=held.token), time.monotonic()
        _write(viewer, task, batch, held.token if held else None, made)
    if held and outline.asks:
        _let_go(viewer, held)
    elif held:
        leases.complete(viewer, task=held, token=held.token, outcome=run.outcome)


def _known(viewer: Viewer, run: Run, task: Task, refs: list[str]) -> set[str]:
    """The client_refs of the steps that are stored. Raises Conflict when the key's task is of something else."""
    with viewer_transaction(viewer):
        imported = (read_text(task).get("metadata") or {}).get("imported") or {}
        if imported.get("messages") != run.source["messages"]:
            raise Conflict(
                Code.ALREADY_EXISTS,
                f"The task {run.key} exists already and holds something else; import with a prefix to keep both.",
            )
        known: set[str] = set()
        stored: tuple[Any, ...] = (Observation.objects, Decision.objects, Escalation.objects)
        for rows in stored:
            mine = visible_to(viewer, rows.filter(task=task, author_id=viewer.membership))
            known.update(mine.filter(client_ref__in=refs).values_list("client_ref", flat=True))
        return known


def _lease(viewer: Viewer, task: Task) -> TakenLease:
    """Claim the task, or renew the lease that an interrupted import has left. Raises Conflict."""
    try:
        return leases.claim(viewer, task=task, ttl_seconds=LEASE_SECONDS)
    except Conflict as refusal:
        if refusal.code != Code.LEASE_HELD or task.holder_id != viewer.membership:
            raise
        return leases.renew(viewer, task=task, token=task.token, ttl_seconds=LEASE_SECONDS)


def _let_go(viewer: Viewer, held: TakenLease) -> None:
    """Release the lease of a task that was handed to a person, unless that person has taken it already."""
    try:
        leases.release(viewer, task=held, token=held.token)
    except Conflict as refusal:
        if refusal.code not in (Code.HUMAN_OWNED, Code.LEASE_LOST):
            raise


def _batches(steps: Iterable[Step], speed: float | None) -> Iterator[list[Step]]:
    """Consecutive observations together, every other step alone; with `speed` one by one, so many per second.

    Private ones apart: they have an event of their own, and rows are in the order of their events.
    """
    batch: list[Step] = []
    size = 0
    for step in steps:
        if batch and not (_joins(batch[0], step) and speed is None and len(batch) < BATCH and size < BATCH_BYTES):
            yield batch
            batch, size = [], 0
        if speed is not None:
            time.sleep(1 / speed)
        batch.append(step)
        size += size_of(step.content) if isinstance(step, ObservationStep) else 0
    if batch:
        yield batch


def _joins(first: Step, step: Step) -> bool:
    return isinstance(first, ObservationStep) and isinstance(step, ObservationStep) and first.private == step.private


def _write(viewer: Viewer, task: Task, batch: list[Step], token: int | None, made: Counts) -> None:
    """Store steps of one kind; a batch of several has only observations."""
    match batch[0]:
        case ObservationStep():
            items = [_observation(task, step) for step in batch if isinstance(step, ObservationStep)]
            for logged in observations.log_batch(viewer, items=items):
                if not isinstance(logged, Logged):
                    raise logged
                made["observations"] += logged.created
        case DecisionStep() as step:
            item = NewDecision(
                task=task.key, decision=step.decision, reasoning=step.reasoning, token=token, client_ref=step.ref
            )
            _, created = decisions.record(viewer, item=item, task=task)
            made["decisions"] += created
        case EscalationStep() as step:
            _, created = escalate(
                viewer,
                task=task,
                reason_code=step.reason_code,
                reason=step.reason,
                question=step.question,
                allowed=("respond", "reject"),
                client_ref=step.ref,
            )
            made["escalations"] += created


def _observation(task: Task, step: ObservationStep) -> NewObservation:
    return NewObservation(
        content=step.content,
        task=task.key,
        tags=list(step.tags),
        private=step.private,
        occurred_at=step.at,
        client_ref=step.ref,
    )
