"""What tasks add to the figures, computed from the ledger: the one definition, for the roll-up and for what it lacks.

The figures are defined in docs/metrics.md. All of it comes from events: rows that change have the present state only.
"""

from memoryhub.core.access.clearance import VISIBLE
from memoryhub.memory.selectors.tasks import CREATED

# The event types of the partial index event_of_work (migration 0005), which must have each of these.
TYPES = """('task.create', 'task.claim', 'task.complete', 'task.fail', 'task.reopen', 'decision.supersede',
  'decision.revoke', 'escalation.escalate', 'escalation.claim', 'escalation.decide', 'escalation.finish',
  'escalation.cancel', 'escalation.expire')"""
# Which events `e`, with their tasks `t`: those with ids from `first` on and before `last`;
BY_TIME = f"""join ({CREATED}) t on t.id = e.task_id
  where e.team_id = %(team)s::int and e.id >= %(first)s::uuid and e.id < %(last)s::uuid"""


def by_task(tasks: str) -> str:
    """Or those of an array of tasks. By index, whatever the planner takes the sizes for: the team is a filter (as in
    core.access.rls), and each task is looked up by its id.
    """
    return f"""cross join lateral ({CREATED} and r.id = e.task_id offset 0) t
  where int4eq(e.team_id, %(team)s::int) and e.task_id = any ({tasks})"""


def entries_of(events: str) -> str:
    """The CTEs that end with `entries`: of the visible work events, BY_TIME or by_task(), with any further conditions.

    `entries` has a row for each measure of a task's cell: task_id, label, id, week, agent, measure, once, span (an
    interval or null). A cell is a member's week, or a week or a member only, or all, by the parameters `by_week` and
    `by_agent`; the others are label_params(). `once`: what the task counts once for in the cell, null where each event
    counts; `id` orders the cells of a task, where more than the week and the member does.
    """
    return f"""
life as materialized (
  select e.id, e.type, e.task_id, e.row_id, e.actor_id, e.at, e.data ->> 'outcome' as outcome, t.created,
         t.label_id as label, e.label_id = t.label_id as is_plain,
         -- By the event alone: answers that are given have indexes of their own, which might be read as a whole.
         case when e.type = 'escalation.decide' then (
           select case when w.given_id is not null and w.withdrawn_at is null then w.verdict end
           from escalation_answer w where w.event_id = e.id) end as verdict,
         case when %(by_week)s::bool then date_trunc('week', e.at at time zone 'UTC')::date end as week,
         case when %(by_agent)s::bool then e.actor_id end as agent
  from event e {events} and e.{VISIBLE} and e.type in {TYPES}
), ended as (
  select distinct on (week, agent, task_id, is_done) * from (
    select *, type = 'task.complete' or outcome is not distinct from 'done' as is_done from life
    where type in ('task.complete', 'task.fail', 'escalation.finish')) as ends
  order by week, agent, task_id, is_done, id desc
), touched as (
  select week, agent, 'worked_on' as measure, task_id, label from life
  where type in ('task.claim', 'task.complete', 'task.fail', 'escalation.finish', 'escalation.escalate')
  union select week, agent, 'escalated', task_id, label from life where type = 'escalation.escalate'
  union select week, case when %(by_agent)s::bool then coalesce((
      select x.actor_id from event x where x.task_id = life.task_id and x.id < life.id
        and x.type in ('task.claim', 'task.complete', 'task.fail', 'escalation.finish')
      order by x.id desc limit 1), actor_id) end, 'reworked', task_id, label
    from life where type in ('task.reopen', 'decision.supersede', 'decision.revoke')
), handled as (
  select life.task_id, life.label, life.week, case when %(by_agent)s::bool then a.actor_id end as agent, life.type,
         coalesce(life.verdict, split_part(life.type, '.', 2)) as how, life.at - a.at as span,
         not exists (select from event x where x.task_id = life.task_id and x.id > a.id and x.id < life.id
           and x.row_id = life.row_id and case when life.type = 'escalation.claim' then x.type = life.type
             else x.type in ('escalation.decide', 'escalation.finish') end) as is_first
  from life join escalation s on s.id = life.row_id join event a on a.id = s.event_id
  where life.type in ('escalation.claim', 'escalation.decide', 'escalation.finish', 'escalation.cancel',
    'escalation.expire') and (life.type <> 'escalation.decide' or life.verdict is not null)
), entries as (
  select task_id, label, id, week, agent, 'completed' as measure, 'completed' as once,
         at - (select c.at from event c where c.id = ended.created) as span
    from ended where is_done
  union all select task_id, label, id, week, agent, 'working', 'completed', at - (
      select x.at from event x where x.task_id = ended.task_id and x.type = 'task.claim' order by x.id limit 1)
    from ended where type = 'task.complete'
  union all select task_id, label, id, week, agent, 'failed', 'failed', null from ended where not is_done
  union all select task_id, label, null, week, agent, measure, measure, null from touched
  union all select task_id, label, null, week, agent, 'claimed', null, span
    from handled where type = 'escalation.claim' and is_first
  union all select task_id, label, null, week, agent, 'answered', null, span from handled
    where type in ('escalation.decide', 'escalation.finish') and is_first
  union all select task_id, label, null, week, agent, how, null, null from handled where type <> 'escalation.claim'
)"""
