"""The roll-up follows the ledger in the background: what each changed task adds to its tallies is replaced (ADR 19).

A batch is one transaction of entries, tallies and the cursor into the ledger. So they always agree, a worker that dies
leaves nothing half done, and following the same events again changes nothing.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from escalations.reports.entries import TYPES, by_task, entries_of
from memoryhub.core.access.clearance import label_params
from memoryhub.core.db.statements import run
from memoryhub.core.transactions import current, viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer

BATCH = 5_000  # events per transaction
# Of an event `e`: it may have changed what its task adds to the figures. A decision counts once it is handed back.
CHANGES = f"e.task_id is not null and (e.type in {TYPES} or e.type = 'escalation.hand_back')"

_MAKE_STATE = "insert into insight_state (team_id, seq) values (%(team)s::int, 0) on conflict do nothing"
_LOCK = "select seq from insight_state where team_id = %(team)s::int for update"
# The last of the next events.
_REACHED = """
select max(seq) from (select seq from event_seq where team_id = %(team)s::int and seq > %(after)s::bigint
                      order by seq limit %(size)s::int) s
"""
_TASKS = f"""
select coalesce(array_agg(distinct e.task_id) filter (where {CHANGES}), '{{}}')
from event_seq s join event e on e.id = s.event_id
where s.team_id = %(team)s::int and s.seq > %(after)s::bigint and s.seq <= %(reached)s::bigint
"""


def behind() -> list[int]:
    """The teams whose ledger is ahead of their roll-up."""
    return [team for (team,) in run("select insight_behind()")]


def catch_up(team: int) -> None:
    """Follow the team's ledger to its end, waiting for a worker that follows it; for tests and commands."""
    while follow(team, wait=True):
        pass


def rebuild(team: int, say: Callable[[int], object] = lambda events: None) -> None:
    """Rebuild a team's roll-up from its ledger. Meanwhile answers are computed from the ledger, and slower.

    `say` is called with about how many events are done. If interrupted, the worker goes on with it.
    """
    with viewer_transaction(system_viewer(team)):
        run(_MAKE_STATE, {"team": team})
        run(_LOCK, {"team": team})  # waits for a worker that follows the ledger
        run("delete from insight_entry where team_id = %(team)s::int", {"team": team})
        run("delete from insight_tally where team_id = %(team)s::int", {"team": team})
        run("update insight_state set seq = 0 where team_id = %(team)s::int", {"team": team})
    done = 0
    while follow(team, wait=True):
        done += BATCH
        say(done)


def follow(team: int, *, wait: bool = False, size: int = BATCH) -> bool:
    """Roll up the tasks of the next `size` events of the team's ledger.

    False when there are none, or (without `wait`) another worker does it.
    """
    viewer = system_viewer(team)
    with viewer_transaction(viewer):
        run(_MAKE_STATE, {"team": team})
        locked = run(_LOCK if wait else f"{_LOCK} skip locked", {"team": team})
        if not locked:
            return False
        ((after,),) = locked
        ((reached,),) = run(_REACHED, {"team": team, "after": after, "size": size})
        if reached is None:
            return False
        # Rereads the labels, now that the last event is known: the label of each event up to it is listed (ADR 2).
        current().set_viewer_context()
        ((tasks,),) = run(_TASKS, {"team": team, "after": after, "reached": reached})
        if tasks:
            _replace(viewer, tasks)
        run(
            "update insight_state set seq = %(seq)s::bigint where team_id = %(team)s::int",
            {"team": team, "seq": reached},
        )
    return True


_REMOVE = """
with gone as (delete from insight_entry where task_id = any (%(tasks)s::uuid[]) returning tally_id)
select coalesce(array_agg(distinct tally_id) filter (where tally_id is not null), '{}') from gone
"""
# One statement, so that all entries are of one snapshot. What is newer than the cursor is counted from the ledger until
# the cursor has passed it, whether it was in that snapshot or not.
# Not rolled up is a task with an event under another label, which some who see the task may not see; and one whose last
# completion by id, which counts, is in an earlier week than another, as clocks that disagree may have it.
# A tally's id is made of what it is a tally of. To look it up would be a join, whose size the planner cannot know.
_FILE = f"""
with {entries_of(by_task("%(tasks)s::uuid[]"))},
placed as (
  select task_id, label, week, agent, measure, extract(epoch from span)::float8 as span,
         coalesce(case when once is not null then min(week) over own end, 'infinity') as next_own,
         coalesce(case when once is not null then min(week) over anybody end, 'infinity') as next_any
  from entries
  window own as (partition by task_id, once, agent order by id, week
                 groups between 1 following and unbounded following),
         anybody as (partition by task_id, once order by id, week, agent
                     groups between 1 following and unbounded following)
), apart as (
  select task_id from life where not is_plain
  union select task_id from placed where next_own < week or next_any < week
), kept as materialized (
  select *, encode(substr(sha256(convert_to(row(%(team)s::int, label, week, agent, measure, next_own, next_any)::text,
                                            'UTF8')), 1, 16), 'hex')::uuid as tally_id
  from placed where task_id not in (select task_id from apart)
), made as (
  insert into insight_tally (id, team_id, label_id, week, member_id, measure, next_own, next_any, number, spans)
  select distinct tally_id, %(team)s::int, label, week, agent, measure, next_own, next_any, 0, '{{}}'::float8[]
  from kept on conflict (id) do nothing
), filed as (
  insert into insight_entry (team_id, label_id, task_id, tally_id, span)
  select %(team)s::int, label, task_id, tally_id, span from kept
  union all select distinct %(team)s::int, label, task_id, null::uuid, null::float8
  from life where task_id in (select task_id from apart)
  returning tally_id
)
select coalesce(array_agg(distinct tally_id) filter (where tally_id is not null), '{{}}') from filed
"""
# Tally by tally, by the index of their entries: joined, all of the team's may be read once for each.
_COUNT = """
update insight_tally t set (number, spans) = (
  select count(*), coalesce(array_agg(n.span) filter (where n.span is not null), '{}')
  from insight_entry n where n.tally_id = t.id)
where t.id = any (%(tallies)s::uuid[]) returning t.id, t.number
"""


def _replace(viewer: Viewer, tasks: Sequence[UUID]) -> None:
    """Replace what these tasks add, and count the tallies concerned anew."""
    params = label_params(viewer) | {"tasks": tasks, "by_week": True, "by_agent": True}
    ((old,),) = run(_REMOVE, {"tasks": tasks})
    ((new,),) = run(_FILE, params)
    counted = run(_COUNT, {"tallies": [*{*old, *new}]})
    if empty := [tally for tally, number in counted if not number]:
        run("delete from insight_tally where id = any (%(tallies)s::uuid[])", {"tallies": empty})
