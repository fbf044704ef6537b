"""/api/v1/insights: how well the team works (docs/metrics.md), as JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from django.conf import settings
from django.utils import timezone

from agents.api.doors import ReadEndpoint
from escalations.reports import insights
from memoryhub.core import work
from memoryhub.core.fields import Schema, When
from memoryhub.interface.http.json import dump
from memoryhub.interface.http.queries import Query, about


class Insight(Schema, rename={"from_": "from"}):
    """`from` and `to`: the requested period, or the default one."""

    from_: datetime
    to: datetime
    by: list[str]
    results: list[insights.InsightRow]


class InsightQuery(Query, kw_only=True, rename={"from_": "from"}):
    from_: Annotated[When | None, about("The start of the period.")] = None
    to: Annotated[When | None, about("The end of the period.")] = None
    by: Annotated[
        list[Literal["agent", "week"]] | None,
        about("What the figures are grouped by, repeated or comma-separated."),
    ] = None
    format: Annotated[Literal["json", "csv"], about("The response's format.")] = "json"


class Insights(ReadEndpoint):
    """Measure completion time, rework rate and escalation rate: in all, by agent, by ISO week (UTC), or by both.

    Counted from one snapshot of the ledger, over the tasks that the key may see; takes no locks.
    """

    address = "insights"
    scope = "insights:read"

    def read(self, query: InsightQuery) -> Insight:
        period = insights.read_period(query.from_, query.to, timezone.now())
        by = query.by or []
        rows = insights.measure(self.viewer, period, by_agent="agent" in by, by_week="week" in by)
        if query.format == "csv":
            name = f"insights-{self.viewer.team_slug}-{period.start:%Y-%m-%d}-{period.end:%Y-%m-%d}.csv"
            self.headers_out["Content-Type"] = "text/csv; charset=utf-8; header=present"
            self.headers_out["Content-Disposition"] = f'attachment; filename="{name}"'
            made: Any = as_csv(rows)
        else:
            made = dump({"from": period.start, "to": period.end, "by": by, "results": rows})
        if len(made) > settings.ANSWER_BYTES:  # figures of a part of the period would pass for the whole
            raise insights.too_much(f"{settings.ANSWER_BYTES} bytes")
        whole: Insight = made
        return whole


def as_csv(rows: Sequence[insights.InsightRow]) -> bytes:
    """The rows as CSV with a header (RFC 4180). A cell that a spreadsheet would take for a formula gets a quote."""
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=insights.COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        work.check()
        writer.writerow({name: _cell(value) for name, value in insights.flat(row).items()})
    return table.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
