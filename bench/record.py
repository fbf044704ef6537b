"""The SQL of the product's own `observations.log`, as a script for pgbench, PostgreSQL's C load program.

Taken from the product while it runs, so that it stays what the product does. Two scripts: with the ledger, and the same
writes without it (no event, hence no clock, and a commit that waits for the disk itself).
"""

import os
import re
import sys
from typing import Any
from uuid import UUID

from bench.stack import PYTHON, Database, Stack

_EVENT = re.compile(r'insert\s+into\s+"?event"?\s', re.IGNORECASE)
_SELECT = re.compile(r"^\s*select\s", re.IGNORECASE)


def record(stack: Stack, database: Database, member: str, *, ledger: bool) -> str:
    """The script of one write by this agent, whose task `bench` exists."""
    return stack.run([PYTHON, "-m", "bench.record", member, "ledger" if ledger else "none"], database.environment)


def _script(member: UUID, *, ledger: bool) -> str:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    import psycopg
    from django.db import connection

    from bench.seed import OBSERVATION
    from memoryhub.core.models import Event, Membership
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import viewer_of
    from memoryhub.memory.actions import observations
    from memoryhub.memory.actions.observations import NewObservation
    from memoryhub.memory.models import Task

    viewer = viewer_of(Membership.objects.select_related("actor", "team").get(id=member))
    with viewer_transaction(viewer, read_only=True):
        task = Task.objects.get(key="bench")
    inside: list[str] = []
    after: list[str] = []

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        assert not many
        text = psycopg.ClientCursor(connection.connection).mogrify(sql, params)
        (inside if connection.in_atomic_block else after).append(text)
        return execute(sql, params, many, context)

    observations.log(viewer, item=NewObservation(**OBSERVATION, task=task))  # labels are kept from now on
    with connection.execute_wrapper(listen):
        logged = observations.log(viewer, item=NewObservation(**OBSERVATION, task=task))
    with viewer_transaction(viewer, read_only=True):
        event = Event.objects.get(row_id=logged.id)

    assert sum(bool(_EVENT.search(text)) for text in inside) == 1, "the event is written by one statement of its own"
    if not ledger:
        inside = [text for text in inside if not _EVENT.search(text)]
        after = []
    # The ids that the application makes are drawn with the first statement, at no further round trip.
    first, count = _SELECT.subn("select uuidv7() as row_id, uuidv7() as clock_id, ", inside[0], count=1)
    assert count == 1, "the first statement sets the viewer, by a select"
    lines = ["begin;", _one_line(first) + " \\gset"]
    lines += [_one_line(text) + ";" for text in inside[1:]]
    lines += ["commit;", *(_one_line(text) + ";" for text in after)]
    script = "\n".join(lines) + "\n"
    for made, name in ((logged.id, "row_id"), (event.id, "clock_id")):
        assert not ledger or str(made) in script
        script = script.replace(f"'{made}'", f":{name}")
    return script


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(_script(UUID(sys.argv[1]), ledger=sys.argv[2] == "ledger"))
