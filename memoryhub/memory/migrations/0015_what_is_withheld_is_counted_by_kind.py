"""What is withheld from a person is counted kind by kind, learnings now, too (memory.kinds)."""

from importlib import import_module
from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import count_withheld

_FACTS = import_module("memoryhub.memory.migrations.0003_facts")
# Of a fact counts the version that was its newest then: whose successor was not there yet.
_NEWEST_THEN = """not r.deleted and not exists (
    select from fact_version n join event_seq s on s.event_id = n.event_id
    where n.fact_id = r.fact_id and n.version = r.version + 1 and s.seq <= $2)"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0014_only_search_reads_bitmaps")]

    operations: ClassVar[list[Operation]] = [
        count_withheld("observation", also="not r.private"),
        count_withheld("decision"),
        count_withheld("fact_version", also=_NEWEST_THEN),
        count_withheld("learning"),
        migrations.RunSQL(_FACTS.DROP, _FACTS.WITHHELD),
    ]
