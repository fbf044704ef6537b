"""Tags are stored as readers see them, as those are that come from now on: so a tag is found however it is spelt."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

TAGS = """
update observation set tags = array(select readable(tag) from unnest(tags) with ordinality t (tag, n) order by n)
where exists (select from unnest(tags) tag where tag <> readable(tag));
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("memory", "0016_search_reads_postings"),
        ("core", "0014_texts_are_compared_as_readers_see_them"),
    ]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(TAGS, migrations.RunSQL.noop)]
