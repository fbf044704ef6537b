"""How long a claim holds: until its end by the database's clock, and while its owner may work on the escalation.

A claim that is over is over for everybody at once, before that is recorded: reads show the escalation as queued, and
any change ends the claim first (actions.common.lock). It needs no worker.
"""

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import BooleanField, Case, F, Func, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.db.models.query import ModelIterable

from escalations.models import Escalation
from escalations.states import CLAIMED, HELD, QUEUED
from memoryhub.core.db.statements import queue, run


class _MayWorkOn(Func):
    """The database's function: an active member with an active account, a role of the desk, cleared for the label."""

    function = "may_work_on"
    output_field = BooleanField()


IS_OVER = Q(state__in=HELD) & (
    Q(state=CLAIMED, claim_expires_at__lte=Now()) | ~Q(_MayWorkOn(F("owner_id"), F("label_id")))
)
# Locks the owner's rights until COMMIT, after a concurrent change of them. The next statement reads the rights, since
# this one's snapshot is older than its wait. The account first, as in people.change. No change of rights locks a task
# or an escalation, so there is no deadlock.
_KEEP = "select from actor a join membership m on m.actor_id = a.id where m.id = %(owner)s::uuid for share of a, m"
_ENDS = """
select not may_work_on(%(owner)s::uuid, %(label)s::int), coalesce(%(until)s::timestamptz <= clock_timestamp(), false)
"""


def as_they_are_now(rows: QuerySet[Escalation]) -> QuerySet[Escalation]:
    """The rows, annotated with `over`: whether their claim is over. If so, they are queued and without an owner."""
    rows = rows.annotate(over=Case(When(IS_OVER, then=Value(True)), default=Value(False)))
    rows._iterable_class = _AsTheyAreNow
    return rows


def in_states(rows: QuerySet[Any], states: Collection[str]) -> QuerySet[Any]:
    """Those of as_they_are_now() that are in one of the states."""
    return rows.filter(is_in(states))


def is_in(states: Collection[str]) -> Q:
    """The condition that one of as_they_are_now() is in one of the states."""
    if QUEUED in states:
        return Q(state__in=states, over=False) | Q(state__in=HELD, over=True)
    return Q(state__in=states, over=False)


class _AsTheyAreNow(ModelIterable):
    def __iter__(self) -> Iterator[Escalation]:
        for row in super().__iter__():
            if row.over:
                row.state = QUEUED
                row.owner = row.claimed_at = row.claim_expires_at = None
            yield row


def ended_by(escalation: Escalation) -> str | None:
    """The verb that ends a locked escalation's claim at this moment; None while it holds, or where there is none."""
    if escalation.state not in HELD:
        return None
    params = {"owner": escalation.owner_id, "label": escalation.label_id, "until": escalation.claim_expires_at}
    queue(_KEEP, params)
    ((may_not, is_late),) = run(_ENDS, params)
    if may_not:
        return "withdraw"
    return "run_out" if is_late and escalation.state == CLAIMED else None
