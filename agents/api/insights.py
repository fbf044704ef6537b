"""/api/v1/insights: how well the team works (docs/metrics.md), as JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, TypedDict

from django.conf import settings
from django.utils import timezone

from agents.api.doors import Answer, Reading
from escalations.reports import insights
from memoryhub.core import work
from memoryhub.interface.http.json import dump

BY = ("agent", "week")


# `from` and `to`: the period that was asked for, or that is meant where none was.
Insight = TypedDict("Insight", {"from": datetime, "to": datetime, "by": list[str], "results": list[insights.Row]})


class Insights(Reading):
    """Completion time, rework rate and escalation rate of a period: in all, by agent, by ISO week (UTC), or by both.

    Counted from the ledger as it is at this moment, within the tasks that the caller may see; changes nothing, and
    holds nobody up.
    """

    scope = "insights:read"
    parameters: ClassVar[frozenset[str]] = frozenset({"from", "to", "by", "format"})
    answers = {200: Insight}

    def read(self, **url: Any) -> Answer:
        period = insights.read_period(self.params.when("from"), self.params.when("to"), timezone.now())
        by = self.params.words("by", BY) or []
        rows = insights.measure(self.viewer, period, by_agent="agent" in by, by_week="week" in by)
        if self.params.choice("format", ("json", "csv")) == "csv":
            name = f"insights-{self.viewer.team_slug}-{period.start:%Y-%m-%d}-{period.end:%Y-%m-%d}.csv"
            return _whole(
                as_csv(rows),
                headers={
                    "Content-Type": "text/csv; charset=utf-8; header=present",
                    "Content-Disposition": f'attachment; filename="{name}"',
                },
            )
        return _whole(
            dump({"from": period.start, "to": period.end, "by": by, "results": rows}),
            headers={"Content-Type": "application/json"},
        )


def _whole(body: bytes, headers: dict[str, str]) -> Answer:
    """Raises Invalid for more than an answer holds: figures of a part of the period would pass for those of all."""
    if len(body) > settings.ANSWER_BYTES:
        raise insights.too_much(f"{settings.ANSWER_BYTES} bytes")
    return Answer(body, headers=headers)


def as_csv(rows: Sequence[insights.Row]) -> bytes:
    """The rows as a table with a head (RFC 4180). What a spreadsheet would take for a formula begins with a quote."""
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=insights.COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        work.check()
        writer.writerow({name: _cell(value) for name, value in insights.flat(row).items()})
    return table.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
