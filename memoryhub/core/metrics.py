"""What is counted for whoever watches an installation (Prometheus): one line a subject. `/metrics` tells it.

A counter is this process's own, so that counting costs no trip; Prometheus adds the processes up. What must be true of
all processes at once, workers too, is read from the database when it is asked for. No label ever is a key, a task, a
name or anything else that a client chooses: only verbs, codes, states and routes, which the code lists.
"""

from collections.abc import Iterator

import structlog
from django.db import DatabaseError, InterfaceError
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memoryhub.core.db import statements
from memoryhub.core.errors import describe

log = structlog.get_logger(__name__)

EVENTS = Counter("memoryhub_events_total", "Events that this process has written to the ledger, by verb.", ["verb"])
REFUSALS = Counter("memoryhub_refusals_total", "Requests that were refused, by the problem's code.", ["code"])
REPLAYS = Counter("memoryhub_replays_total", "Requests that an Idempotency-Key showed to be repeated.")
LISTENERS = Gauge("memoryhub_live_listeners", "Sockets and long polls that hear of events as they happen.")
LIVE_DELAY = Histogram(
    "memoryhub_live_delay_seconds",
    "From an event's time, by the database's clock, to its delivery to this process's listeners, by its own.",
)


class FromDatabase(Collector):
    """A gauge whose values a statement gives: rows of a number, after the value of `label` where there is one.

    While the database is away it has no values, and the others are told all the same.
    """

    def __init__(self, name: str, help: str, statement: str, label: str | None = None) -> None:
        self._name, self._help, self._statement = name, help, statement
        self._labels = [label] if label else []
        REGISTRY.register(self)

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        try:
            for *label, value in statements.run(self._statement):
                family.add_metric(label, float(value))
        except (DatabaseError, InterfaceError) as error:
            log.warning("metric_unreadable", metric=self._name, **describe(error))
        yield family


FromDatabase(
    "memoryhub_ledger_events", "Events in the ledgers of all teams, whoever wrote them.", "select ledger_length()"
)
FromDatabase(
    "memoryhub_outbox_jobs",
    "Work that is not done: due, for later, and due again after a failure.",
    "select case when due_at > statement_timestamp() and failure = '' then 'later' when failure <> '' then 'failed'"
    " else 'due' end, count(*) from outbox where done_at is null group by 1",
    "state",
)
FromDatabase(
    "memoryhub_outbox_oldest_due_seconds",
    "For how long the job that is due the longest has been due.",
    "select coalesce(extract(epoch from statement_timestamp() - min(due_at)), 0) from outbox"
    " where done_at is null and due_at <= statement_timestamp()",
)
