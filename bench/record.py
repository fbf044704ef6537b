"""The SQL of the product's own `observations.log`, as a script for pgbench, PostgreSQL's C load program.

Recorded from the running product, so that it stays what the product does. Two scripts: with the ledger, and the same
writes without it (no event, hence no clock, and a COMMIT that itself waits for the disk).
"""

import os
import re
import sys
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg

from bench.stack import PYTHON, Database, Stack

_ROWS = re.compile(r"'(\[\{[^']*\}\])'::jsonb")
_EVENT = re.compile(r'insert\s+into\s+"?event"?\s', re.IGNORECASE)


def record(stack: Stack, database: Database, member: str, *, ledger: bool) -> str:
    """The script of one write by this agent, whose task `bench` exists."""
    return stack.run([PYTHON, "-m", "bench.record", member, "ledger" if ledger else "none"], database.environment)


def _script(member: UUID, *, ledger: bool) -> str:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    from bench.seed import OBSERVATION
    from memoryhub.core.db.pipeline import Pipeline
    from memoryhub.core.models import Event, Membership
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import viewer_of
    from memoryhub.memory.actions import observations
    from memoryhub.memory.schemas.observations import NewObservation

    viewer = viewer_of(Membership.objects.select_related("actor", "team").get(id=member))
    with viewer_transaction(viewer, read_only=True):
        item = NewObservation(**OBSERVATION, task="bench")
    sent: list[str] = []
    exchange = Pipeline.exchange

    def listen(pipeline: Pipeline, statements: Any, *, begin: bool) -> Any:
        cursor = psycopg.ClientCursor(pipeline.raw)
        sent.extend(["begin"] * begin + [cursor.mogrify(text, params or None) for text, params in statements])
        return exchange(pipeline, statements, begin=begin)

    observations.log(viewer, item=item)  # labels are cached from now on
    # Where the hot paths' statements are sent to the server, bypassing Django's cursor.
    with mock.patch.object(Pipeline, "exchange", listen):
        logged = observations.log(viewer, item=item)
    with viewer_transaction(viewer, read_only=True):
        event = Event.objects.get(row_id=logged.id)

    assert sum(bool(_EVENT.search(text)) for text in sent) == 1, "the event is written by one statement of its own"
    assert sent.index("commit") == len(sent) - 2, "after COMMIT there is only the wait for the disk"
    if not ledger:
        sent = [text for text in sent[:-1] if not _EVENT.search(text)]
    # The ids that the application makes are generated first. Then all is sent in one trip, as the product does.
    lines = ["select uuidv7() as row_id, uuidv7() as clock_id \\gset", "\\startpipeline"]
    lines += [*(_one_line(text) + ";" for text in sent), "\\endpipeline"]
    script = "\n".join(lines) + "\n"
    # The row is one JSON text. To pgbench `:false` would be a variable; `: false` is not.
    script = _ROWS.sub(lambda found: f"('{found[1].replace(':', ': ')}')::jsonb", script)
    for made, name in ((logged.id, "row_id"), (event.id, "clock_id")):
        # psycopg writes an id without its dashes.
        script, count = re.subn(rf"'({made}|{made.hex})'", f":{name}", script)
        script, inside = re.subn(str(made), f"' || :{name} || '", script)
        assert count + inside, "the ids that the application made stand in the statements"
    return script


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(_script(UUID(sys.argv[1]), ledger=sys.argv[2] == "ledger"))
