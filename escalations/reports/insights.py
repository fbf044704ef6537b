"""How well the team works, week by week: completion time, rework, escalations. Defined in docs/metrics.md.

All of it is computed from the ledger, over the tasks that the viewer may see: rows that change have the present state
only. One statement, bounded by the number of task and escalation events in the period.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any, NamedTuple, TypedDict

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.core.ids import first_id_at
from memoryhub.core.viewers import Viewer
from memoryhub.memory.selectors.tasks import CREATED

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


# The event types of the partial index event_of_work (migration 0005), which must have each of these.
_TYPES = """('task.create', 'task.claim', 'task.complete', 'task.fail', 'task.reopen', 'decision.supersede',
  'decision.revoke', 'escalation.escalate', 'escalation.claim', 'escalation.decide', 'escalation.finish',
  'escalation.cancel', 'escalation.expire')"""

_MEASURE = f"""
with life as materialized (
  select e.id, e.type, e.task_id, e.row_id, e.actor_id, e.at, e.data ->> 'outcome' as outcome,
         case when e.type = 'escalation.decide' then (select w.verdict from escalation_answer w where w.event_id = e.id)
         end as verdict, t.created,
         case when %(by_week)s::bool then date_trunc('week', e.at at time zone 'UTC')::date end as week,
         case when %(by_agent)s::bool then e.actor_id end as agent
  from event e join ({CREATED}) t on t.id = e.task_id
  where e.team_id = %(team)s::int and e.{VISIBLE} and e.type in {_TYPES} and e.id >= %(first)s::uuid
    and e.id < %(last)s::uuid and e.at >= %(from)s::timestamptz and e.at < %(to)s::timestamptz
), ended as (
  select distinct on (week, agent, task_id, is_done) * from (
    select *, type = 'task.complete' or outcome is not distinct from 'done' as is_done from life
    where type in ('task.complete', 'task.fail', 'escalation.finish')) as ends
  order by week, agent, task_id, is_done, id desc
), touched as (
  select week, agent, 'worked_on' as what, task_id from life
  where type in ('task.claim', 'task.complete', 'task.fail', 'escalation.finish', 'escalation.escalate')
  union select week, agent, 'escalated', task_id from life where type = 'escalation.escalate'
  union select week, case when %(by_agent)s::bool then coalesce((
      select x.actor_id from event x where x.task_id = life.task_id and x.id < life.id
        and x.type in ('task.claim', 'task.complete', 'task.fail', 'escalation.finish')
      order by x.id desc limit 1), actor_id) end, 'reworked', task_id
    from life where type in ('task.reopen', 'decision.supersede', 'decision.revoke')
), handled as (
  select life.week, case when %(by_agent)s::bool then a.actor_id end as agent, life.type,
         coalesce(life.verdict, split_part(life.type, '.', 2)) as how, life.at - a.at as span,
         not exists (select from event x where x.task_id = life.task_id and x.id > a.id and x.id < life.id
           and x.row_id = life.row_id and case when life.type = 'escalation.claim' then x.type = life.type
             else x.type in ('escalation.decide', 'escalation.finish') end) as is_first
  from life join escalation s on s.id = life.row_id join event a on a.id = s.event_id
  where life.type in ('escalation.claim', 'escalation.decide', 'escalation.finish', 'escalation.cancel',
    'escalation.expire') and (life.type <> 'escalation.decide' or exists (
      select from escalation_answer w where w.event_id = life.id and w.withdrawn_at is null
        and (s.state not in ('queued', 'claimed', 'waiting', 'resolved') or w.round < s.round)))
), facts as (
  select week, agent, 'completed' as what, at - (select c.at from event c where c.id = ended.created) as span
    from ended where is_done
  union all select week, agent, 'working', at - (
      select x.at from event x where x.task_id = ended.task_id and x.type = 'task.claim' order by x.id limit 1)
    from ended where type = 'task.complete'
  union all select week, agent, 'failed', null from ended where not is_done
  union all select week, agent, what, null from touched
  union all select week, agent, 'claimed', span from handled where type = 'escalation.claim' and is_first
  union all select week, agent, 'answered', span from handled
    where type in ('escalation.decide', 'escalation.finish') and is_first
  union all select week, agent, how, null from handled where type <> 'escalation.claim'
)
select f.week, m.name, k.kind, f.what, count(*),
       percentile_cont(array[0.5, 0.9]) within group (order by extract(epoch from f.span)::float8)
from facts f left join membership m on m.id = f.agent left join actor k on k.id = m.actor_id
group by f.week, m.name, k.kind, f.what order by f.week, m.name limit %(most)s::int
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
    params = label_params(viewer) | {
        "by_agent": by_agent,
        "by_week": by_week,
        "from": period.start,
        "to": period.end,
        "first": first_id_at(period.start, later=-_SLACK),
        "last": first_id_at(period.end, later=_SLACK),
        "most": MOST_ROWS * 4,
    }
    counted = run(_MEASURE, params)
    cells: dict[tuple[date | None, str | None, str | None], dict[str, _Count]] = {}
    if not by_agent:
        cells = {(week, None, None): {} for week in (_weeks(period) if by_week else [None])}
    for week, name, kind, what, count, spans in counted:
        cells.setdefault((week, name, kind), {})[what] = _Count(count, spans)
    if len(cells) > MOST_ROWS or len(counted) == params["most"]:
        raise too_much(f"{MOST_ROWS} rows")
    return [_row(*cell, counts) for cell, counts in cells.items()]


def too_much(most: str) -> Invalid:
    """The refusal of a result that is too large."""
    return Invalid(errors=(FieldError("?by", Code.TOO_LARGE, f"The result has more than {most}; shorten the period."),))


class _Count(NamedTuple):
    number: int
    spans: str | list[float] | None


def _row(week: date | None, name: str | None, kind: str | None, counts: dict[str, _Count]) -> InsightRow:
    def number(what: str) -> int:
        return counts[what].number if what in counts else 0

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
    if found is None or found.spans is None:
        return {"count": 0, "median": None, "p90": None}
    median, ninth = (round(seconds, 3) for seconds in found.spans)  # type: ignore[arg-type]
    return {"count": found.number, "median": median, "p90": ninth}


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _weeks(period: Period) -> Iterator[date]:
    monday = _monday(period.start)
    for number in range(ceil((period.end - monday) / timedelta(weeks=1))):
        yield (monday + timedelta(weeks=number)).date()


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
