"""I3: fencing tokens strictly increase a task, and a write that brings an old one never lands.

Holders are processes of their own that claim for a second, write under their token over HTTP, and let go. The harness
stops some of them at any moment (SIGSTOP) until their lease is long over and somebody else's, and lets them go on: what
they then write with the old token must be refused. What landed is judged by the ledger alone: the `seq` of each grant
and of each write. The control's holders leave their token out.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg

from memoryhub.memory.actions import tasks
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.factories import make_agent, make_team, unique
from tests.support.servers import ROOT

HOLDERS = 8
TASKS = 6  # fewer than holders, so that what one loses another has at once
PAUSE_SECONDS = (1.1, 1.8)  # longer than a lease
MIN_PAUSES = 20  # however fast the grants come: a pause strikes who holds a lease at that moment
Said = tuple[str, str, int, str, int]  # what, task, token, the write's reference, status


@dataclass
class Report:
    """What was seen. `struck`: leases that ran out, since every holder lets go unless it is stopped.

    `late`: writes that landed after a younger grant of their task, by `seq`; `not_increasing`: grants whose token is
    not greater than the one before. `untold`: writes that landed and were refused, or the other way round.
    """

    grants: int = 0
    writes: int = 0
    pauses: int = 0
    struck: int = 0
    fenced_off: int = 0
    late: int = 0
    not_increasing: int = 0
    untold: int = 0
    other: Counter[str] = field(default_factory=Counter)


def run(server: str, sql: psycopg.Connection[Any], grants: int, *, seed: int, checked: bool = True) -> Report:
    """So many grants. `server`: the web process's address; `sql`: as the owner; `checked` False: the control."""
    team = make_team("lease")
    prefix = unique("t")
    agents = [make_agent(team) for _ in range(HOLDERS)]
    for number in range(TASKS):
        tasks.create(agents[0].viewer, item=NewTask(key=f"{prefix}-{number}", title="A task"))
    said: list[Said] = []
    report = Report()
    port = str(urlsplit(server).port)
    with _holders(port, [agent.key for agent in agents], prefix, checked, said) as holders:
        _stop_some(holders, said, grants, random.Random(seed), report)
    _judge(sql, team.id, said, report)
    return report


@contextmanager
def _holders(
    port: str, keys: list[str], prefix: str, checked: bool, said: list[Said]
) -> Iterator[list[subprocess.Popen[str]]]:
    words = "checked" if checked else "unchecked"
    holders = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.i03_holder", port, key, prefix, str(TASKS), words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for key in keys
    ]
    listeners = [threading.Thread(target=_listen, args=(holder, said)) for holder in holders]
    for listener in listeners:
        listener.start()
    try:
        yield holders
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
        for listener in listeners:
            listener.join()


def _listen(holder: subprocess.Popen[str], said: list[Said]) -> None:
    assert holder.stdout is not None
    # One that does not end there was cut off by the kill.
    said.extend(tuple(json.loads(line)) for line in holder.stdout if line.endswith("\n"))


def _stop_some(
    holders: list[subprocess.Popen[str]], said: list[Said], grants: int, dice: random.Random, report: Report
) -> None:
    """Until there are so many grants and MIN_PAUSES, stop one holder after another, up to two at once."""
    stopped: dict[int, float] = {}
    deadline = time.monotonic() + 60 + grants * 0.2
    try:
        while report.pauses < MIN_PAUSES or sum(word[0] == "granted" for word in said) < grants:
            assert time.monotonic() < deadline, f"only {Counter(word[0] for word in said)}"
            assert all(holder.poll() is None for holder in holders), "a holder ended by itself"
            for pid in [pid for pid, until in stopped.items() if until < time.monotonic()]:
                os.kill(pid, signal.SIGCONT)
                del stopped[pid]
            if len(stopped) < 2:
                pid = dice.choice([holder.pid for holder in holders if holder.pid not in stopped])
                os.kill(pid, signal.SIGSTOP)
                stopped[pid] = time.monotonic() + dice.uniform(*PAUSE_SECONDS)
                report.pauses += 1
            time.sleep(dice.uniform(0.02, 0.2))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    time.sleep(1)  # what the last ones have to say


# Each grant and each write of the team in the order of its commits, with the token that it was made under.
_HISTORY = """
select s.seq, e.type, t.key, coalesce((e.data ->> 'token')::bigint, o.tags[1]::bigint), o.client_ref
from event_seq s join event e on e.id = s.event_id join task t on t.id = e.task_id
left join observation o on e.type = 'observation.log' and o.id = e.row_id
where s.team_id = %s and e.type in ('task.claim', 'task.run_out', 'observation.log') order by s.seq
"""


def _judge(sql: psycopg.Connection[Any], team: int, said: list[Said], report: Report) -> None:
    newest: dict[str, int] = {}
    landed: set[str] = set()
    for _, what, task, token, ref in sql.execute(_HISTORY, [team]).fetchall():
        if what == "task.claim":
            report.grants += 1
            report.not_increasing += token <= newest.get(task, 0)
            newest[task] = token
        elif what == "task.run_out":
            report.struck += 1
        else:
            report.writes += 1
            landed.add(ref)
            report.late += token < newest.get(task, 0)
    for what, _, _, ref, status in said:
        if what != "wrote":
            continue
        report.fenced_off += status == 409
        if status not in (0, 201, 409):
            report.other[str(status)] += 1
        elif status:
            report.untold += (status == 201) != (ref in landed)
