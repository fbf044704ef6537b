"""The one way to the database: a transaction that belongs to one viewer.

It sets what row-level security tests, gathers what the actions append to the ledger and the outbox, writes the
events last (ADR 1, rule 2), and after COMMIT waits until they are durable before anything is answered or announced.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from memoryhub.core import metrics, wake
from memoryhub.core.db import durability, statements
from memoryhub.core.db.blocks import block
from memoryhub.core.db.pipeline import Params, Rows
from memoryhub.core.errors import HubError, Unconfirmed
from memoryhub.core.ledger import lives
from memoryhub.core.models import AccessLog, Outbox, Sensitivity
from memoryhub.core.viewers import Viewer
from memoryhub.core.work import stoppable

T = TypeVar("T")

# The visible labels are listed anew only when one was made since this process has listed them: a team may have many
# that this viewer may not see, and listing passes over each. Version and list are of one snapshot (ADR 2).
_ENTER = f"""
select set_config('hub.team', %(team)s::int::text, true), set_config('hub.actor', %(actor)s::uuid::text, true),
       set_config('hub.system', case when %(all)s::bool then 'on' else '' end, true),
       set_config('hub.agent', case when %(agent)s::bool then 'on' else '' end, true),
       pg_postmaster_start_time()::text, {lives.NOW}, version,
       case when set_config('hub.labels', labels, true) is distinct from %(known)s::text then labels end
from (select version, case when version = %(version)s::uuid then %(known)s::text else coalesce((
          select array_agg(id)::text from label where team_id = %(team)s::int and (%(all)s::bool
              or (sensitivity <= %(clearance)s::int and compartments <@ %(compartments)s::varchar[]))), '{{}}') end
          as labels
      from (select (select version from label_set where team_id = %(team)s::int) as version offset 0) v offset 0) l
"""
_APPEND = """
insert into event (id, team_id, label_id, type, actor_id, row_type, row_id, task_id, audience_id, recipients, people,
                   data)
values (%(id)s, %(team)s, %(label)s, %(type)s, %(actor)s, %(row_type)s, %(row_id)s, %(task)s, %(audience)s,
        %(recipients)s, %(people)s, %(data)s)
"""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The visible labels as they were at a version of the team's labels (None: there is none yet)."""

    version: UUID | None
    text: str
    ids: frozenset[int]


# By team and clearance. A version is a random number: it names one set of labels, whatever is restored or promoted.
_listed: dict[tuple[int, bool, int, frozenset[str]], _Listed] = {}
_MOST_LISTED = 10_000


@dataclass(slots=True)
class Transaction:
    """What one transaction has gathered so far."""

    viewer: Viewer
    read_only: bool
    events: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[Outbox] = field(default_factory=list)
    due: list[UUID] = field(default_factory=list)  # those of the jobs to wake Celery for
    reads: dict[tuple[UUID, str], AccessLog] = field(default_factory=dict)
    sealed_by: set[int] = field(default_factory=set)  # ids of the data keys
    after: list[statements.Statement] = field(default_factory=list)  # of a read-only transaction that follows this one
    depends_on_event: UUID | None = None  # the event that the answer rests on: it is durable before that is told
    seq: int | None = None
    has_made_labels: bool = False  # which may be rolled back, so that their list is this transaction's own
    _entered: statements.Statement | None = None
    _known: _Listed | None = None

    def set_viewer_context(self) -> None:
        """(Re)set the viewer's settings; again after a label was made in this transaction."""
        viewer = self.viewer
        self._known = _listed.get(self._clearance)
        params = {
            "team": viewer.team,
            "actor": viewer.membership,
            "all": viewer.is_system,
            "agent": viewer.is_agent,
            "clearance": viewer.clearance,
            "compartments": viewer.compartment_array,
            "version": self._known and self._known.version,
            "known": self._known and self._known.text,
        }
        # No method of this object's: what was read would live on in a cycle with it.
        self._entered = statements.enqueue(statements.Statement(_ENTER, params, partial(_notice, viewer.team)))

    @property
    def life(self) -> int:
        """The ordinal of the ledger's life (ADR 10)."""
        assert self._entered is not None
        return int(self._entered.rows()[0][5])

    @property
    def _clearance(self) -> tuple[int, bool, int, frozenset[str]]:
        return self.viewer.team, self.viewer.is_system, self.viewer.clearance, self.viewer.compartments

    @property
    def labels(self) -> frozenset[int]:
        """The ids of the labels that row-level security lets this viewer see."""
        assert self._entered is not None
        *entered, version, text = self._entered.rows()[0]
        if text is not None:
            ids = frozenset(int(label) for label in text.strip("{}").split(",") if label)
            self._entered.found = [(*entered, version, None)]
            self._known = _Listed(version, text, ids)
            if not self.has_made_labels:
                if len(_listed) >= _MOST_LISTED:
                    _listed.clear()
                _listed[self._clearance] = self._known
        assert self._known is not None
        return self._known.ids

    def keep_labels(self) -> None:
        """Remember the list for the next transactions, where one was read."""
        if self._entered is not None and self._entered.found is not None:
            _ = self.labels


def _notice(team: int, rows: Rows) -> None:
    # Before what a transaction reads is looked at with what was remembered of another history.
    lives.notice(rows[0][4], team, rows[0][5])


_local = threading.local()


def current() -> Transaction:
    """The transaction that this thread is in. Raises RuntimeError outside of one."""
    found: Transaction | None = getattr(_local, "transaction", None)
    if found is None:
        raise RuntimeError("Memory is read and written inside viewer_transaction() only.")
    return found


@contextmanager
def viewer_transaction(viewer: Viewer, *, read_only: bool = False) -> Iterator[Transaction]:
    """A transaction for this viewer; joins the one that this thread is in when it is the same viewer's.

    `read_only` forbids changes (ledger rows); what is read of confidential content is recorded all the same.
    """
    outer: Transaction | None = getattr(_local, "transaction", None)
    if outer is not None:
        if outer.viewer != viewer:
            raise RuntimeError("One transaction belongs to one viewer.")
        yield outer
        return
    mine = Transaction(viewer, read_only)
    # What only reads is broken off when its client leaves; what writes ends whole.
    with stoppable() if read_only else nullcontext(), block():
        mine.set_viewer_context()
        _local.transaction = mine
        try:
            yield mine
            _finish(mine)
            mine.keep_labels()
        except Unconfirmed:
            raise
        except HubError:
            _refuse(mine)
            raise
        finally:
            _local.transaction = None
    if mine.seq is not None:
        wake.ring(viewer.team, mine.seq)
    for event in mine.events:
        metrics.EVENTS.labels(event["type"]).inc()
    wake.work(mine.due)


def _finish(mine: Transaction) -> None:
    """Write what was gathered, the events last, and COMMIT; then wait for the disk: all of it in one round trip."""
    if mine.reads:
        AccessLog.objects.bulk_create(mine.reads.values())
    if mine.jobs:
        Outbox.objects.bulk_create(mine.jobs)
    for event in mine.events:
        statements.queue(_APPEND, event)
    if statements.only_pending(mine._entered) and not mine.after:
        return  # nothing was asked, and nothing need be sent
    statements.queue("commit")
    if mine.after:
        statements.queue("begin")
        mine.set_viewer_context()
        for statement in mine.after:
            statements.enqueue(statement)
        statements.queue("commit")
    if mine.events:
        mine.seq = wait_durable(mine.events[-1]["id"])
        durability.reach(mine.viewer.team, mine.seq)
    elif mine.depends_on_event and not mine.read_only:
        wait_durable(mine.depends_on_event)
    elif mine.depends_on_event:
        _wait_durable_read()
    statements.flush()


def _refuse(mine: Transaction) -> None:
    """Undo what was done; what the refusal tells of is durable, too, when it leaves."""
    if mine.depends_on_event:
        statements.discard()
        statements.queue("rollback")
        _wait_durable_read()


def wait_durable(event_id: UUID) -> int:
    """Wait until the event is durable and return its `seq`. Nothing may be answered or announced before."""
    with durability.waiting():
        ((seq,),) = statements.run("select settle(%s::uuid)", [event_id])
    if seq is None:
        raise RuntimeError(f"event {event_id} has no seq: it was not committed")
    return int(seq)


def _wait_durable_read() -> None:
    with durability.reading():
        statements.run("select settle_read()")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A statement, and what is made of its rows; when it is sent is its caller's choice, since each trip costs."""

    text: str
    params: Params
    make: Callable[[Rows], T]

    def ask(self) -> T:
        """Now."""
        return self.make(statements.run(self.text, self.params))

    def ask_ahead(self) -> Callable[[], T]:
        """With the next trip, which the first call of what is returned makes, if nothing else has."""
        statement = statements.queue(self.text, self.params)
        return lambda: self.make(statement.rows())

    def ask_last(self) -> T:
        """As the last that a read-only transaction asks: COMMIT travels with it.

        Not for a viewer whose readings of sealed rows are recorded. What is asked after it all the same begins anew, as
        the same viewer.
        """
        mine = current()
        if not mine.read_only or mine.viewer.clearance >= Sensitivity.CONFIDENTIAL:
            return self.ask()
        asked = statements.queue(self.text, self.params)
        statements.queue("commit")
        rows = asked.rows()
        mine.set_viewer_context()
        return self.make(rows)

    def ask_after(self) -> Callable[[], T]:
        """In a transaction of its own, of the same viewer, that follows this one's COMMIT in one trip.

        What a write is answered with is read anew, through the label, and costs no trip of its own.
        """
        statement = statements.Statement(self.text, self.params)
        current().after.append(statement)
        return lambda: self.make(statement.rows())
