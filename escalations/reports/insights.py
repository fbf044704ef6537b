"""How well the team works, week by week: completion time, rework, escalations. Defined in docs/metrics.md.

The weekly roll-up (reports.roll_up) is read through the viewer's labels, as all else; what it lacks is computed from
the ledger in the same statement. So the figures are of one snapshot, and the same as without a roll-up (ADR 19).
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any, NamedTuple, TypedDict

from django.utils import timezone

from escalations.reports.entries import BY_TIME, TYPES, by_task, entries_of
from escalations.reports.roll_up import CHANGES
from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.core.ids import first_id_at
from memoryhub.core.viewers import Viewer

MOST_DAYS = 731
DEFAULT_WEEKS = 12
MOST_ROWS = 10_000
# An id is made before its event's time is taken, on another clock.
_SLACK = timedelta(hours=1)

OUTCOMES = ("approve", "edit", "respond", "reject", "ignore", "finish", "cancel", "expire")


class Durations(TypedDict):
    """Median and 90th percentile of `count` durations, in seconds; null without any."""

    count: int
    median: float | None
    p90: float | None


class InsightRow(TypedDict):
    """The figures of one cell. `week` (ISO 8601, such as 2026-W48), `agent` and `kind` are null where it is for all."""

    week: str | None
    agent: str | None
    kind: str | None
    completed: int
    failed: int
    completion_time: Durations
    working_time: Durations
    reworked: int
    rework_rate: float | None
    worked_on: int
    escalated: int
    escalation_rate: float | None
    outcomes: dict[str, int]
    time_to_claim: Durations
    time_to_answer: Durations


# What is counted: by cell and measure its number, and how long each took, in seconds. It is sorted before the times are
# taken apart: there are far fewer rows then.
_FIGURES = """
select c.week, m.name, k.kind, c.measure, c.number, c.times from (
  select week, agent, measure, sum(number) filter (where place is null or place = 1)::bigint as number,
         percentile_cont(array[0.5, 0.9]) within group (order by span) as times
  from (select * from counted order by week, agent, measure offset 0) n
  left join lateral unnest(n.spans) with ordinality s (span, place) on true
  group by week, agent, measure) c
left join membership m on m.id = c.agent left join actor k on k.id = m.actor_id
order by c.week, m.name limit %(most)s::int
"""
_OF_ENTRIES = """
select week, agent, measure, count(*) as number, array_agg(extract(epoch from span)::float8)
  filter (where span is not null) as spans from entries group by week, agent, measure
"""
_IN_PERIOD = "e.at >= %(from)s::timestamptz and e.at < %(to)s::timestamptz"
_DIRECTLY = f"""
with {entries_of(f"{BY_TIME} and {_IN_PERIOD}")}, counted as ({_OF_ENTRIES}) {_FIGURES}
"""


def _edge(name: str) -> str:
    """The tasks with work between an end of the period and the Monday next to it."""
    return f"""
  select e.task_id from event e where e.team_id = %(team)s::int and e.{VISIBLE} and e.type in {TYPES}
    and e.id >= %({name}_first)s::uuid and e.id < %({name}_last)s::uuid
    and e.at >= %({name}_from)s::timestamptz and e.at < %({name}_to)s::timestamptz"""


# Tasks that are computed from the ledger: those with events that the roll-up has not followed yet; those with work at
# the ends of the period, in weeks of which a part counts; and those that are not rolled up. The planner takes what is
# newer than an unknown `seq` for a third of the ledger, and would read all of it; what is between two, for little.
_DIRTY = f"""
dirty as materialized (
  select e.task_id from event e where e.{VISIBLE} and {CHANGES} and e.id = any (array(
    select event_id from event_seq where team_id = %(team)s::int
      and seq > (select seq from insight_state where team_id = %(team)s::int)
      and seq <= (select seq from event_seq where team_id = %(team)s::int order by seq desc limit 1)))
  union {_edge("start")}
  union {_edge("end")}
  union select n.task_id from insight_entry n where n.team_id = %(team)s::int and n.tally_id is null and n.{VISIBLE}
)"""
# The tallies of the weeks from `start_week` on and before `end_week`. In a row of the answer, a task counts in the last
# tally that it has there.
_TALLIES = f"""
select t.id, case when %(by_week)s::bool then t.week end as week,
       case when %(by_agent)s::bool then t.member_id end as agent, t.measure, t.number, t.spans
from insight_tally t
where t.team_id = %(team)s::int and t.{VISIBLE} and t.week >= %(start_week)s::date and t.week < %(end_week)s::date
  and case when %(by_agent)s::bool then t.next_own else t.next_any end
    >= case when %(by_week)s::bool then t.week + 7 else %(end_week)s::date end
"""
# Tallies without the tasks of `dirty` are taken whole; of the others, the entries of their other tasks. `is true` keeps
# the planner from a join, for which it would have to know how many tallies there are.
_ROLLED_UP = f"""
with {_DIRTY},
{entries_of(f"{by_task('array(select task_id from dirty)')} and {_IN_PERIOD}")},
shared as materialized (
  select distinct tally_id from insight_entry where task_id = any (array(select task_id from dirty))
    and tally_id is not null
), tallies as materialized ({_TALLIES}), counted as (
  select week, agent, measure, number, spans from tallies where id not in (select tally_id from shared)
  union all
  select t.week, t.agent, t.measure, n.number, n.spans from tallies t cross join lateral (
    select count(*) as number, array_agg(n.span) filter (where n.span is not null) as spans
    from insight_entry n where n.tally_id = t.id and n.task_id not in (select task_id from dirty)) n
  where (t.id in (select tally_id from shared)) is true and n.number > 0
  union all ({_OF_ENTRIES})
) {_FIGURES}
"""
# Both statements give the same figures; where less than half is rolled up, the ledger is read in one go.
_IS_FOLLOWED = """
select coalesce((select seq from insight_state where team_id = %(team)s::int), 0) * 2
       > coalesce((select seq from event_seq where team_id = %(team)s::int order by seq desc limit 1), 0)
"""


class Period(NamedTuple):
    """The half-open period [start, end)."""

    start: datetime
    end: datetime


def read_period(start: datetime | None, end: datetime | None, now: datetime) -> Period:
    """The period of `from` and `to`. Defaults: up to now, and from the Monday that makes it 12 weeks.

    Raises Invalid when it is empty or longer than 731 days.
    """
    wrong = "?to" if end else "?from"
    end = end or now
    try:
        start = start or _monday(end - timedelta(microseconds=1)) - timedelta(weeks=DEFAULT_WEEKS - 1)
    except OverflowError:
        start = end  # there is nothing before the year 1
    if not timedelta(0) < end - start <= timedelta(days=MOST_DAYS):
        detail = f"The period must end after it begins, and at most {MOST_DAYS} days later."
        raise Invalid(errors=(FieldError(wrong, Code.OUT_OF_RANGE, detail),))
    return Period(start, end)


def measure(viewer: Viewer, period: Period, *, by_agent: bool = False, by_week: bool = False) -> list[InsightRow]:
    """The figures of the period: one row for all, or one per member, per ISO week (UTC), or per both.

    Every week of the period has a row, even an empty one; a member, or a member's week, only where they did something.
    Raises Invalid beyond 10,000 rows.
    """
    params = label_params(viewer) | {"by_agent": by_agent, "by_week": by_week, "most": MOST_ROWS * 4}
    params |= {"from": period.start, "to": period.end}
    weeks = _whole_weeks(period, timezone.now())
    if weeks is not None and run(_IS_FOLLOWED, {"team": viewer.team}) == [(True,)]:
        params |= {"start_week": weeks.start.date(), "end_week": weeks.end.date()}
        for edge, moment, monday in (("start", period.start, weeks.start), ("end", period.end, weeks.end)):
            params |= _span(f"{edge}_", min(moment, monday), max(moment, monday))
        counted = run(_ROLLED_UP, params)
    else:
        counted = run(_DIRECTLY, params | _span("", period.start, period.end))
    cells: dict[tuple[date | None, str | None, str | None], dict[str, _Count]] = {}
    if not by_agent:
        cells = {(week, None, None): {} for week in (_weeks(period) if by_week else [None])}
    for week, name, kind, measure, number, times in counted:
        cells.setdefault((week, name, kind), {})[measure] = _Count(number, times)
    if len(cells) > MOST_ROWS or len(counted) == params["most"]:
        raise too_much(f"{MOST_ROWS} rows")
    return [_row(*cell, counts) for cell, counts in cells.items()]


def too_much(most: str) -> Invalid:
    """The refusal of a result that is too large."""
    return Invalid(errors=(FieldError("?by", Code.TOO_LARGE, f"The result has more than {most}; shorten the period."),))


class _Count(NamedTuple):
    number: int
    times: list[float] | None


def _row(week: date | None, name: str | None, kind: str | None, counts: dict[str, _Count]) -> InsightRow:
    def number(measure: str) -> int:
        return counts[measure].number if measure in counts else 0

    return {
        "week": _iso(week) if week else None,
        "agent": name,
        "kind": kind,
        "completed": number("completed"),
        "failed": number("failed"),
        "completion_time": _times(counts.get("completed")),
        "working_time": _times(counts.get("working")),
        "reworked": number("reworked"),
        "rework_rate": _rate(number("reworked"), number("completed")),
        "worked_on": number("worked_on"),
        "escalated": number("escalated"),
        "escalation_rate": _rate(number("escalated"), number("worked_on")),
        "outcomes": {word: number(word) for word in OUTCOMES},
        "time_to_claim": _times(counts.get("claimed")),
        "time_to_answer": _times(counts.get("answered")),
    }


def _times(found: _Count | None) -> Durations:
    if found is None or found.times is None:
        return {"count": 0, "median": None, "p90": None}
    median, ninth = (round(seconds, 3) for seconds in found.times)
    return {"count": found.number, "median": median, "p90": ninth}


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _weeks(period: Period) -> Iterator[date]:
    monday = _monday(period.start)
    for number in range(ceil((period.end - monday) / timedelta(weeks=1))):
        yield (monday + timedelta(weeks=number)).date()


def _whole_weeks(period: Period, now: datetime) -> Period | None:
    """The whole weeks that differ least from the period; None where there are none, or no such dates.

    What is later than `now` makes no difference.
    """
    with suppress(OverflowError):
        weeks = Period(_nearest_monday(period.start, now), _nearest_monday(period.end, now))
        if weeks.start < weeks.end:
            return weeks
    return None


def _nearest_monday(moment: datetime, now: datetime) -> datetime:
    before = _monday(moment)
    after = before + timedelta(weeks=1)
    return before if moment - before <= min(after, max(moment, now)) - moment else after


def _span(prefix: str, start: datetime, end: datetime) -> dict[str, Any]:
    """The parameters of a span of time, and of the ids that its events may have; none where it is empty."""
    first = first_id_at(start, later=-_SLACK)
    last = first_id_at(end, later=_SLACK) if start < end else first
    return {f"{prefix}from": start, f"{prefix}to": end, f"{prefix}first": first, f"{prefix}last": last}


def _monday(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=moment.weekday())


def _iso(week: date) -> str:
    year, number, _ = week.isocalendar()
    return f"{year}-W{number:02}"


def flat(row: InsightRow) -> dict[str, Any]:
    """A row as the columns of a table, such as `completion_time_median` and `outcomes_approve`."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            columns |= {f"{name}_{part}": found for part, found in value.items()}
        else:
            columns[name] = value
    return columns


COLUMNS = tuple(flat(_row(None, None, None, {})))
