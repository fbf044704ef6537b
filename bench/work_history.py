"""Twelve weeks of a team's work, for P23: tasks, escalations and their ledger, by SQL, as the actions write them.

It runs in its own process (`python -m bench.work_history`, the number of events on standard input). All events are of
the kinds that insights count. Seven tasks in ten are created, claimed and completed; the others fail, are escalated and
answered, done again, or have decisions replaced. They are spread over 40 agents and six labels.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

from bench.stack import PYTHON, Database, Stack

AGENTS, PEOPLE, WEEKS = 40, 5, 12
EVENTS_A_TASK = 3.72  # on average, of _STEPS
COMPARTMENTS = ["finance", "pii"]
LABELS: list[tuple[int, list[str]]] = [(0, []), (1, []), (1, ["finance"]), (1, ["pii"]), (2, []), (2, ["finance"])]


@dataclass(frozen=True)
class Work:
    """The team; keys of a reader whom every label is open to, and of one who sees three in six."""

    team: int
    key: str
    low_key: str


def make(stack: Stack, database: Database, events: int) -> Work:
    """Make about so many events."""
    return Work(**json.loads(stack.run([PYTHON, "-m", "bench.work_history"], database.environment, str(events))))


# Kind of task, the share of it, and its events in order: type, mean minutes since the one before, and whose it is.
_STEPS = """
create table bench_step as
select * from (values
  ('plain', 1, 'task.create', 0, 'agent'), ('plain', 2, 'task.claim', 20, 'agent'),
  ('plain', 3, 'task.complete', 120, 'agent'),
  ('escalated', 1, 'task.create', 0, 'agent'), ('escalated', 2, 'task.claim', 20, 'agent'),
  ('escalated', 3, 'escalation.escalate', 40, 'agent'), ('escalated', 4, 'escalation.claim', 15, 'person'),
  ('escalated', 5, 'escalation.decide', 10, 'person'), ('escalated', 6, 'task.complete', 60, 'agent'),
  ('failed', 1, 'task.create', 0, 'agent'), ('failed', 2, 'task.claim', 20, 'agent'),
  ('failed', 3, 'task.fail', 200, 'agent'),
  ('again', 1, 'task.create', 0, 'agent'), ('again', 2, 'task.claim', 20, 'agent'),
  ('again', 3, 'task.complete', 120, 'agent'), ('again', 4, 'task.reopen', 4000, 'other'),
  ('again', 5, 'task.claim', 20, 'other'), ('again', 6, 'task.complete', 120, 'other'),
  ('replaced', 1, 'task.create', 0, 'agent'), ('replaced', 2, 'task.claim', 20, 'agent'),
  ('replaced', 3, 'decision.supersede', 30, 'agent'), ('replaced', 4, 'decision.revoke', 30, 'agent'),
  ('replaced', 5, 'task.complete', 30, 'agent')
) s (kind, step, type, minutes, who);
create function bench_id(at timestamptz, number bigint) returns uuid language sql immutable as $$
  select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '7000' || '8'
          || lpad(to_hex(number), 15, '0'))::uuid
$$;
select setseed(0.5)
"""
_TASKS = """
create table bench_task as
select n, bench_id(at, n) as id, at, case when p < 0.7 then 'plain' when p < 0.85 then 'escalated'
       when p < 0.9 then 'failed' when p < 0.97 then 'again' else 'replaced' end as kind,
       (%(labels)s::int[])[1 + floor(random() * %(count)s)::int] as label,
       (%(agents)s::uuid[])[1 + floor(random() * random() * %(agent_count)s)::int] as agent,
       (%(agents)s::uuid[])[1 + floor(random() * %(agent_count)s)::int] as other,
       (%(people)s::uuid[])[1 + floor(random() * %(person_count)s)::int] as person
from (select n, random() as p, now() - interval '12 weeks' * (1 - n::float8 / %(tasks)s) as at
      from generate_series(1, %(tasks)s) n) g;
create table bench_event as
select bench_id(at, n * 10 + step) as id, n, t.id as task, kind, step, type, label, at,
       case who when 'agent' then agent when 'other' then other else person end as actor
from (select t.id, t.n, t.kind, t.label, t.agent, t.other, t.person, s.step, s.type, s.who,
             t.at + sum(make_interval(secs => 1 - 60 * s.minutes * ln(1 - random()))) over (partition by t.n
               order by s.step) as at
      from bench_task t join bench_step s on s.kind = t.kind) t
where at < now();
analyze bench_event
"""
_LEDGER = """
alter table event disable trigger zz_number;
insert into event (id, team_id, label_id, type, actor_id, row_type, row_id, task_id, people, data, at)
select id, %(team)s, label, type, actor, split_part(type, '.', 1),
       case split_part(type, '.', 1) when 'escalation' then bench_id('epoch', n) else task end, task, false, '{}', at
from bench_event order by id;
alter table event enable trigger zz_number;
insert into event_seq (team_id, seq, event_id)
select %(team)s, (select max(seq) from event_seq where team_id = %(team)s) + row_number() over (order by id), id
from bench_event
"""
# As a row that the actions have made, with ids, label and event of its own.
_LIKE = """
insert into {table} select (jsonb_populate_record(r, jsonb_build_object({columns}))).*
from {table} r, bench_task t join label l on l.id = t.label join bench_event e on e.n = t.n and e.type = '{type}'
where r.id = %({table})s
"""
_PLACED = """'team_id', %(team)s::int, 'label_id', t.label, 'sensitivity', l.sensitivity, 'event_id', e.id,
  'body', case when l.sensitivity < 2 then '{}'::jsonb end, 'sealed', case when l.sensitivity = 2 then '\\x00' end"""
_ROWS = {
    ("task", "task.create"): "'id', t.id, 'key', 'k' || t.n",
    ("escalation", "escalation.escalate"): "'id', bench_id('epoch', t.n), 'task_id', t.id, 'state', 'closed'",
    ("escalation_answer", "escalation.decide"): (
        "'id', bench_id('epoch', t.n), 'task_id', t.id, 'escalation_id', bench_id('epoch', t.n), 'given_id', e.id"
    ),
}


def _make(events: int) -> Work:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    import psycopg

    from memoryhub.core.actions import teams
    from memoryhub.core.models import SYSTEM_TEAM, Team
    from memoryhub.core.viewers import system_viewer

    installation = system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
    team = teams.add(installation, slug="bench", name="Bench")
    made = _seed(team)
    tasks = round(events / EVENTS_A_TASK)
    values = {**made, "team": team.id, "tasks": tasks, "count": len(LABELS)}
    values |= {"agent_count": AGENTS, "person_count": PEOPLE}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        cursor = psycopg.ClientCursor(owner)  # several statements at once
        for statement in (_STEPS, _TASKS, _LEDGER):
            cursor.execute(statement, values)
        for (table, made_by), columns in _ROWS.items():
            cursor.execute(_LIKE.format(table=table, type=made_by, columns=f"{columns}, {_PLACED}"), values)
        cursor.execute("drop table bench_step, bench_task, bench_event")
    return Work(team.id, made["key"], made["low_key"])


def _seed(team: Any) -> dict[str, Any]:
    """Members, labels, and a row of each kind, made by the actions."""
    from agents.actions import agents, keys
    from agents.models import Scope
    from escalations.actions import answers, claims
    from escalations.actions.escalate import escalate
    from memoryhub.core.access.labels import ensure_label
    from memoryhub.core.actions import memberships, people
    from memoryhub.core.models import SYSTEM_TEAM, Membership, Role, Team
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import system_viewer, viewer_of
    from memoryhub.memory.actions import tasks
    from memoryhub.memory.schemas.tasks import NewTask

    admin = system_viewer(team.id)
    cleared = [agents.add(admin, name=f"agent-{n}", clearance=2, compartments=COMPARTMENTS) for n in range(AGENTS)]
    low = agents.add(admin, name="low", clearance=1, compartments=["finance"])
    installation = system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
    desk = []
    for number in range(PEOPLE):
        actor = people.add(installation, username=f"person-{number}", password=None)
        desk.append(memberships.add(admin, actor=actor, name=f"person-{number}", role=Role.SUPPORT, clearance=1))
    agent, person = (
        viewer_of(Membership.objects.select_related("actor", "team").get(id=member))
        for member in (cleared[0].membership_id, desk[0].id)
    )
    task, _ = tasks.create(agent, item=NewTask(key="seed", title="Seed"))
    asked, _ = escalate(agent, task=task, reason_code="other", reason="r", question="q")
    claims.claim(person, escalation_id=asked.id)
    answers.decide(person, escalation_id=asked.id, verdict="respond", message="Yes.")
    with viewer_transaction(admin):
        labels = [ensure_label(admin, *label).id for label in LABELS]
        answer = asked.answers.get().id
    return {
        "key": keys.issue(admin, member=cleared[0].membership, scopes=[Scope.INSIGHTS_READ])[1],
        "low_key": keys.issue(admin, member=low.membership, scopes=[Scope.INSIGHTS_READ])[1],
        "agents": [agent.membership_id for agent in cleared],
        "people": [member.id for member in desk],
        "labels": labels,
        "task": task.id,
        "escalation": asked.id,
        "escalation_answer": answer,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_make(int(sys.stdin.read())))))
